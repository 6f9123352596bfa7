"""Where the runs of a suite are computed: an interface, and the processes of this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from typing import Any, Protocol

from benchmarks.suites.suite import Suite
from predictors.workers import ended_on_error, make_pool

Record = dict[str, Any]  # what a run found; see `benchmarks.comparison.run_record`


@dataclass(frozen=True)
class Job:
    """One run of a suite: plain data that can be sent to another process or machine.

    Attributes:
        suite: What is compared.
        env: Label of the environment.
        agent: Label of the agent.
        seed: Of the run.
        folder: Of the suite.
        tensorboard: Whether the agent writes its numbers down while it runs.
    """

    suite: Suite
    env: str
    agent: str
    seed: int
    folder: str
    tensorboard: bool = False


Work = Callable[[Job], Record]
Done = Callable[[Job, Record], None]


class Execution(Protocol):
    """Does jobs somewhere."""

    def run(self, jobs: Sequence[Job], work: Work, done: Done) -> None:
        """Does all jobs, in whatever order.

        A job that was begun before, here or elsewhere, goes on from its history: it may be sent
        again after a failure, but not while it still runs.

        Args:
            jobs: What to do.
            work: A function of a module; called once a job, wherever that is.
            done: Called here, in one thread, with each job and its result.

        Raises:
            EmNASError: If a job cannot be done; what others have stored stays.
        """
        ...


class InTurn:
    """Does one job after the other, in this process."""

    def run(self, jobs: Sequence[Job], work: Work, done: Done) -> None:
        """Does all jobs; see `Execution.run`."""
        for job in jobs:
            done(job, work(job))


class ProcessPool:
    """Does several jobs at a time in processes of their own, each with one thread.

    Args:
        workers: Number of processes; 0 is one a core.
    """

    def __init__(self, workers: int = 0) -> None:
        self.workers = workers or os.cpu_count() or 1

    def run(self, jobs: Sequence[Job], work: Work, done: Done) -> None:
        """Does all jobs; see `Execution.run`.

        Raises:
            EmNASError: If a job cannot be done, or a process died.
        """
        if not jobs:
            return
        pool = make_pool(min(self.workers, len(jobs)), use_one_thread, ())
        with ended_on_error(pool):  # runs resume by replay; waiting for them would take minutes
            futures = {pool.submit(work, job): job for job in jobs}
            for future in as_completed(futures):
                done(futures[future], future.result())
        pool.shutdown()


def use_one_thread() -> None:
    """Keeps the libraries of a worker process to one thread each."""
    os.environ["OMP_NUM_THREADS"] = "1"  # heard by libraries that are imported from now on
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)
