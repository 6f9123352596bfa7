"""Worker processes that end with their parent and leave Ctrl-C to it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor


def make_pool(
    count: int, start: Callable[..., None], arguments: tuple[object, ...]
) -> ProcessPoolExecutor:
    """A pool of spawned processes.

    Args:
        count: Number of processes.
        start: Called in each with the arguments; fills what its tasks share.
        arguments: Of ``start``.
    """
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, context, _begin, (start, arguments))


def _begin(start: Callable[..., None], arguments: tuple[object, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C and ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    start(*arguments)


def _end_with_parent() -> None:
    """Ends this process when the parent is gone, even by ``kill -9``: no worker is left behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
