"""How far the runs of a suite are, by evaluation, wherever they are computed.

A run leaves its count in a file of its folder, which every machine sees; a thread of the runner
reads these files and moves the bars. The histories are left alone: a reader in another process, or
on another machine, could hold up the one that writes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.progress import Progress

from benchmarks.suites.execution import Job
from benchmarks.suites.folder import run_folder
from emnas_gym.history import Row

PERIOD = 0.5  # seconds between two counts of a run, and between two looks at them
COUNT = "progress"  # the file, in the folder of a run that has begun and not ended
DIGITS = 12  # no count is longer
AHEAD = 64  # runs begin about in their order: after so many that have not, none has


class Counter:
    """Counts the evaluations of a run, those told again after a resume included.

    Args:
        folder: Of the run.
    """

    def __init__(self, folder: Path) -> None:
        self._path, self._count, self._next = folder / COUNT, 0, float("-inf")

    def __call__(self, row: Row) -> None:
        """Counts one evaluation, and writes the count down where the last one is old."""
        self._count += 1
        if (now := time.monotonic()) >= self._next:
            self._next = now + PERIOD
            with suppress(OSError):  # only a bar is late; a full disk is the history's to tell
                self._path.write_text(str(self._count), encoding="ascii")

    def close(self) -> None:
        """Takes the file away."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def counted(job: Job) -> int | None:
    """Evaluations that a run had when it last told; None where it has not, or not readably."""
    folder = run_folder(Path(job.folder), job.env, job.agent, job.seed)
    try:
        with (folder / COUNT).open("rb") as file:
            text = file.read(DIGITS + 1)
    except OSError:
        return None
    return int(text) if text.isdigit() and len(text) <= DIGITS else None


class Bars:
    """A bar for each environment, in evaluations of all its runs.

    Args:
        progress: Where the bars are.
        jobs: All runs.
        todo: Those of them that have not ended.
    """

    def __init__(self, progress: Progress, jobs: Sequence[Job], todo: Sequence[Job]) -> None:
        self._progress, self._lock = progress, threading.Lock()
        self._todo = list(todo)
        self._runs = {env: sum(job.env == env for job in jobs) for env in _environments(jobs)}
        self._totals = {env: sum(_size(j) for j in jobs if j.env == env) for env in self._runs}
        self._bars = {env: progress.add_task(env, total=n) for env, n in self._totals.items()}
        self.look()

    def done(self, job: Job) -> None:
        """Counts a run as a whole, also one that ended before its evaluations were spent."""
        with self._lock:
            self._todo.remove(job)
        self.look()

    def look(self) -> None:
        """Reads how far the runs are, and moves the bars."""
        with self._lock:  # two threads look
            told = _told(self._todo)
            for env, bar in self._bars.items():
                left = [job for job in self._todo if job.env == env]
                open_ = sum(
                    _size(job) - told.get((job.env, job.agent, job.seed), 0) for job in left
                )
                runs = self._runs[env]
                title = f"{env}: {runs - len(left)} of {runs} runs, evaluations"
                self._progress.update(bar, completed=self._totals[env] - open_, description=title)


def _environments(jobs: Sequence[Job]) -> list[str]:
    return list(dict.fromkeys(job.env for job in jobs))


def _size(job: Job) -> int:
    return job.suite.environment(job.env).evaluations


def _told(jobs: Sequence[Job]) -> dict[tuple[str, str, int], int]:
    """Evaluations of the runs that have begun, by labels and seed; none has more than it may."""
    found: dict[tuple[str, str, int], int] = {}
    silent = 0
    for job in jobs:
        count = counted(job)
        silent = silent + 1 if count is None else 0
        if count is not None:
            found[job.env, job.agent, job.seed] = min(count, _size(job))
        if silent == AHEAD:
            break
    return found


@contextmanager
def following(bars: Bars) -> Iterator[None]:
    """Moves the bars while runs are computed."""
    ended = threading.Event()

    def follow() -> None:
        while not ended.wait(PERIOD):
            bars.look()

    thread = threading.Thread(target=follow, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
