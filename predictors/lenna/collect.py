"""Collects rows: processes that each measure and store, watched by one that measures nothing.

A process may be ended by the system for want of memory; its row is then noted as failed, a new
process takes its place, and the others never notice. Several commands may fill one file at a time.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from emnas_gym.errors import DatasetError, EvaluationError
from hardware.errors import CompilerError, DeviceRefused, ModelFileError
from predictors.collect_costs import describe_host
from predictors.lenna.backends.base import Backend, Settings
from predictors.lenna.backends.table import make_backend
from predictors.lenna.drawing import Draw, draw_row
from predictors.lenna.measure import Stop, measure_row
from predictors.lenna.row_store import RowStore
from predictors.lenna.writers import writer_of

POLL_SECONDS = 0.2
AT_ONCE = 8  # rows that a process claims together
OUT_OF_MEMORY = "out of memory"
REFUSED = (EvaluationError, ModelFileError, CompilerError, DeviceRefused)
Progress = Callable[[int, int], object]  # rows measured and failed


@dataclass(frozen=True)
class Plan:
    """What is collected.

    Attributes:
        settings: The backend and how it measures.
        draw: How rows are drawn.
        stop: When a label is good enough.
        rows: How many.
        memory_gib: What a process may use beyond what it begins with; None for no limit.
    """

    settings: Settings
    draw: Draw = field(default_factory=Draw)
    stop: Stop = field(default_factory=Stop)
    rows: int = 1000
    memory_gib: float | None = None

    def environment(self, backend: Backend) -> dict[str, Any]:
        """What must be equal in one file: backend, machine, rule, and how rows are drawn."""
        return {
            "backend": backend.environment(),
            "draw": self.draw.to_json(),
            "machine": describe_host(),
            "stop": self.stop.to_json(),
        }


def write_rows(store: RowStore, backend: Backend, plan: Plan, most: int = AT_ONCE) -> int:
    """Measures and stores rows until none is left; returns how many it took on.

    Args:
        store: Where.
        backend: What runs blocks.
        plan: What is collected.
        most: Rows that are claimed together.
    """
    count = 0
    while claimed := store.claim(plan.rows, most):
        for index in claimed:
            _write_row(store, backend, plan, index)
            count += 1
    return count


def _write_row(store: RowStore, backend: Backend, plan: Plan, index: int) -> None:
    drawn, rng = draw_row(plan.draw, index)
    store.begin(index)
    start = time.perf_counter()
    try:
        measured = measure_row(backend, drawn, rng, plan.stop)
    except MemoryError as error:
        store.fail(drawn, f"{OUT_OF_MEMORY} {error}".strip())
    except RuntimeError as error:
        if not (isinstance(error, REFUSED) or is_want_of_memory(error)):
            raise
        store.fail(drawn, f"{OUT_OF_MEMORY}: {error}" if is_want_of_memory(error) else str(error))
    except REFUSED as error:
        store.fail(drawn, str(error))
    else:
        store.add(drawn, measured, time.perf_counter() - start)


def is_want_of_memory(error: RuntimeError) -> bool:
    """Whether an error of torch or of an interpreter says that memory could not be had."""
    text = str(error).lower()
    return any(sign in text for sign in ("allocate memory", "out of memory", "not enough memory"))


def collect_rows(
    path: Path, plan: Plan, workers: int = 1, progress: Progress = lambda rows, failed: None
) -> tuple[int, int]:
    """Fills a file up to the rows of a plan.

    Args:
        path: The file; rows that are there are not measured again.
        plan: What is collected.
        workers: Processes that measure.
        progress: Told how many rows there are, again and again.

    Returns:
        Rows that were measured, and rows that failed.

    Raises:
        StoreError: If the file is damaged, or of another environment.
        EvaluationError: If a process ends by an error of its own, which it printed.
        BackendMissing: If what the backend needs is not installed.
    """
    if workers < 1:
        raise DatasetError(f"one process or more measures, not {workers}")
    backend = make_backend(plan.settings)
    environment = plan.environment(backend)
    backend.close()
    with RowStore(path, environment) as store:
        running = [_started(path, plan) for _ in range(workers)]
        try:
            while running:
                time.sleep(POLL_SECONDS)
                progress(*store.count())
                running = [p for p in (_next(p, store, path, plan) for p in running) if p]
        finally:
            for process in running:
                process.terminate()
            for process in running:
                process.join()
        progress(*store.count())
        return store.count()


_WRITERS: dict[int, str] = {}


def _started(path: Path, plan: Plan) -> BaseProcess:
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_work, args=(path, plan), daemon=True)
    process.start()
    assert process.pid is not None
    _WRITERS[process.pid] = writer_of(process.pid)
    return process


def _next(process: BaseProcess, store: RowStore, path: Path, plan: Plan) -> BaseProcess | None:
    """The process, or the one that takes its place; None once it has nothing left to do."""
    if process.is_alive():
        return process
    process.join()
    assert process.pid is not None
    writer = _WRITERS.pop(process.pid)
    if process.exitcode == 0:
        return None
    if process.exitcode is None or process.exitcode > 0:
        raise EvaluationError(
            f"a process that measures ended with code {process.exitcode}: what it printed says "
            "why. All rows so far are saved"
        )
    for index in store.begun_by(writer):
        drawn, _ = draw_row(plan.draw, index)
        store.fail(drawn, f"its process was ended by signal {-process.exitcode}: {OUT_OF_MEMORY}?")
    return _started(path, plan)


def _work(path: Path, plan: Plan) -> None:
    """What a process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C and ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    backend = make_backend(plan.settings)
    if plan.memory_gib is not None:
        limit_memory(plan.memory_gib)
    try:
        with RowStore(path, plan.environment(backend)) as store:
            write_rows(store, backend, plan)
    finally:
        backend.close()


def limit_memory(gib: float) -> None:
    """Lets this process allocate so much more than it has now; beyond that is a `MemoryError`."""
    used = 0
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").split("\n"):
        if line.startswith("VmData:"):
            used = int(line.split()[1]) << 10
    limit = used + int(gib * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
