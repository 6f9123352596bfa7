"""Runs a suite: what is not there yet, in parallel; then the winners' trainings and the result."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from agents.runs import make_agent
from agents.scalars import check_installed
from benchmarks.suites.collect import collect_result
from benchmarks.suites.environment import describe
from benchmarks.suites.execution import Execution, Job, ProcessPool, Record
from benchmarks.suites.folder import claimed, read_json, write_json
from benchmarks.suites.job import finished, run_job
from benchmarks.suites.progress import Bars, following
from benchmarks.suites.suite import Environment, Suite
from benchmarks.watch import bars


@dataclass(frozen=True)
class Part:
    """Which runs of a suite are done now; the others stay missing.

    Attributes:
        agents: Labels; all if empty.
        envs: Labels; all if empty.
    """

    agents: tuple[str, ...] = ()
    envs: tuple[str, ...] = ()

    def check(self, suite: Suite) -> None:
        """Refuses labels that the suite does not have.

        Raises:
            UnknownName: Naming the nearest ones.
        """
        for label in self.agents:
            suite.agent(label)
        for label in self.envs:
            suite.environment(label)

    def has(self, env: str, agent: str) -> bool:
        """Whether a run belongs to it."""
        return self.has_env(env) and (not self.agents or agent in self.agents)

    def has_env(self, env: str) -> bool:
        """Whether runs in an environment belong to it."""
        return not self.envs or env in self.envs


def run_suite(
    suite: Suite,
    out: Path,
    workers: int,
    console: Console,
    part: Part | None = None,
    execution: Execution | None = None,
    command: str = "",
    tensorboard: bool = False,
) -> dict[str, Any]:
    """Runs what is not there yet, verifies the winners, and tests against random search.

    It can be killed at any moment; the same call goes on and comes to the same rows.

    Args:
        suite: What is compared.
        out: Folder; each suite has its own in it.
        workers: Parallel processes; 0 is one a core.
        console: For progress bars.
        part: Which runs are done; all if None.
        execution: Where runs are computed; processes of this machine if None.
        command: That is recorded as how the result came to be.
        tensorboard: Whether agents write their numbers to ``tensorboard`` in the folder of a run,
            while it runs.

    Returns:
        The result; also written as ``result.json`` in the folder of the suite.

    Raises:
        StoreError: If the folder is in use, of another version of the suite, damaged or full.
        BackendMissing: If TensorBoard is asked for and not installed.
        EmNASError: If the suite cannot be run as it is written.
    """
    chosen = part or Part()
    chosen.check(suite)
    for entry in suite.agents:
        make_agent(entry.agent, **entry.options)  # a slip is an error now, not after hours
    if tensorboard:
        check_installed()
    folder = out / suite.name
    execution = execution or ProcessPool(workers)
    with claimed(folder, suite, command or f"python -m benchmarks run {suite.name}"):
        with bars(console) as progress:
            _prepare(suite, folder, chosen, progress)
            _run(_jobs(suite, folder, chosen, tensorboard), execution, progress)
            _verify(suite, folder, chosen, workers or os.cpu_count() or 1, progress)
        result = collect_result(folder)
        write_json(folder / "result.json", result)
    return result


def _prepare(suite: Suite, folder: Path, part: Part, progress: Progress) -> None:
    """Makes every environment once, and measures its reference sample."""
    missing = []
    for environment in suite.environments:
        path = folder / environment.label / "environment.json"
        if part.has_env(environment.label) and read_json(path) is None:
            missing.append((environment, path))
    if not missing:
        return
    bar = progress.add_task("reference samples", total=len(missing))
    for environment, path in missing:
        write_json(path, describe(environment, suite.reference))
        progress.advance(bar)


def _run(jobs: Sequence[Job], execution: Execution, progress: Progress) -> None:
    """Does the runs that have not ended."""
    todo = [job for job in jobs if finished(job) is None]
    shown = Bars(progress, jobs, todo)
    with following(shown):
        execution.run(todo, run_job, lambda job, record: shown.done(job))


def _jobs(suite: Suite, folder: Path, part: Part, tensorboard: bool = False) -> list[Job]:
    runs = (run for run in suite.runs() if part.has(run[0], run[1]))
    return [Job(suite, env, agent, seed, str(folder), tensorboard) for env, agent, seed in runs]


def _verify(suite: Suite, folder: Path, part: Part, workers: int, progress: Progress) -> None:
    """Trains the winners of all runs that have ended, where the suite asks for it."""
    for environment in suite.environments:
        if environment.verify_seeds and part.has_env(environment.label):
            records = _ended(_jobs(suite, folder, Part(envs=(environment.label,))))
            _verify_one(environment, records, folder / environment.label, workers, progress)


def _verify_one(
    environment: Environment, records: list[Record], folder: Path, workers: int, progress: Progress
) -> None:
    from benchmarks.suites.verify import verify_winners  # loads torch: only where something trains

    bar = progress.add_task(f"{environment.label}: training the winners", total=len(records))
    verify_winners(environment, records, folder, workers, lambda: progress.advance(bar))


def _ended(jobs: Sequence[Job]) -> list[Record]:
    return [record for job in jobs if (record := finished(job)) is not None]
