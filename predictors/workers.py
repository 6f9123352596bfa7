"""Worker processes that end with their parent, leave Ctrl-C to it and keep freed memory."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager

from emnas_gym.errors import EmNASError

_GLIBC = {-4: 0, -1: 2**31 - 1, -2: 2**26}  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD of malloc.h


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


def end_at_once(pool: ProcessPoolExecutor) -> None:
    """Ends a pool without waiting for what its workers are doing.

    Each process is ended by itself: a pool that breaks while it starts one more worker would
    otherwise wait for that one for ever.
    """
    processes = list((pool._processes or {}).values())
    pool.shutdown(wait=False, cancel_futures=True)
    for process in processes:
        process.terminate()
    for process in processes:
        process.join()


@contextmanager
def ended_on_error(pool: ProcessPoolExecutor) -> Iterator[None]:
    """Ends the pool at once on whatever error, Ctrl-C included.

    Raises:
        EmNASError: If a worker process died; says what to do.
    """
    try:
        yield
    except BrokenProcessPool as error:
        end_at_once(pool)
        raise EmNASError(
            "a worker process died, perhaps for want of memory: try fewer workers; "
            "what was measured before is saved"
        ) from error
    except BaseException:
        end_at_once(pool)
        raise


def _begin(start: Callable[..., None], arguments: tuple[object, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C and ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _keep_freed_memory()
    start(*arguments)


def _keep_freed_memory() -> None:
    """Has glibc, where it is the C library, keep what is freed for what is allocated next.

    Every array of a training step of a wide network was otherwise taken from the system and
    given back, page by page.
    """
    library = ctypes.CDLL(None) if os.name == "posix" else None
    if library is not None and hasattr(library, "mallopt"):
        for option, value in _GLIBC.items():
            library.mallopt(option, value)


def _end_with_parent() -> None:
    """Ends this process when the parent is gone, even by ``kill -9``: no worker is left behind."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
