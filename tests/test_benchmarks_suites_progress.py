"""Bars of suites move by evaluation: in this process, in others, after a resume."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress
from small_suites import few_draws, run_here, small_suite

from benchmarks.suites import job as job_module
from benchmarks.suites import progress
from benchmarks.suites.environment import describe
from benchmarks.suites.execution import InTurn, Job, ProcessPool
from benchmarks.suites.folder import run_folder, write_json
from benchmarks.suites.job import run_job
from benchmarks.suites.progress import AHEAD, COUNT, Bars, Counter, counted, following
from benchmarks.suites.suite import Entry, Environment, Suite
from emnas_gym.history import Row

pytestmark = pytest.mark.usefixtures(few_draws.__name__)
ROW = Row((1,), (1,), None, 0.0, 1)  # type: ignore[arg-type]
RANDOM = (Entry("random", "random", {"batch": 4}),)


def _jobs(suite: Suite, folder: Path) -> list[Job]:
    return [Job(suite, env, agent, seed, str(folder)) for env, agent, seed in suite.runs()]


def _tell(job: Job, text: str) -> None:
    folder = run_folder(Path(job.folder), job.env, job.agent, job.seed)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / COUNT).write_text(text, encoding="utf-8")


def _shown(shown: Progress) -> list[tuple[float, float | None]]:
    return [(task.completed, task.total) for task in shown.tasks]


def _quiet() -> Progress:
    return Progress(console=Console(file=io.StringIO()))


def test_bars_count_the_evaluations_of_all_runs(tmp_path: Path) -> None:  # B25
    environments = (Environment("a", "EmNAS-v0", 60), Environment("b", "EmNAS-v0", 1000))
    jobs = _jobs(small_suite(seeds=3, environments=environments, agents=RANDOM), tmp_path)
    first = [job for job in jobs if job.env == "a"]
    shown = _quiet()
    bars = Bars(shown, jobs, [job for job in jobs if job != first[0]])
    assert _shown(shown) == [(60, 180), (0, 3000)], "one run had ended before"
    _tell(first[1], "25")
    bars.look()
    assert _shown(shown) == [(85, 180), (0, 3000)]
    _tell(first[1], "70")
    bars.look()
    assert _shown(shown) == [(120, 180), (0, 3000)], "a run has no more than it may"
    bars.done(first[1])
    bars.done(first[2])  # its evaluations were not spent, but it has ended
    assert _shown(shown) == [(180, 180), (0, 3000)]
    assert shown.tasks[0].description == "a: 3 of 3 runs, evaluations"
    _tell([job for job in jobs if job.env == "b"][2], "999")
    bars.look()
    assert _shown(shown)[1] == (999, 3000)


@pytest.mark.parametrize("text", ["", "12x", "-3", "1" * 13, "9" * 10_000, "²", "1\n"])
def test_a_file_that_is_no_count_is_none(tmp_path: Path, text: str) -> None:
    (job, *_) = _jobs(small_suite(), tmp_path)
    assert counted(job) is None
    _tell(job, text)
    assert counted(job) is None
    _tell(job, "12")
    assert counted(job) == 12


def test_runs_far_ahead_are_not_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = _jobs(small_suite(seeds=3 * AHEAD, agents=RANDOM), tmp_path)
    asked: list[Job] = []
    real = progress.counted

    def ask(job: Job) -> int | None:
        asked.append(job)
        return real(job)

    monkeypatch.setattr(progress, "counted", ask)
    _tell(jobs[10], "5")
    shown = _quiet()
    Bars(shown, jobs, jobs)
    assert asked == jobs[: 10 + 1 + AHEAD]
    assert shown.tasks[0].completed == 5


def test_a_count_is_written_at_most_twice_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    counter, path = Counter(tmp_path), tmp_path / COUNT
    told = []
    for step in (0.0, 0.2, 0.2, 0.2, 0.1, 0.5):
        now[0] += step
        counter(ROW)
        told.append(path.read_text())
    assert told == ["1", "1", "1", "4", "4", "6"]
    counter.close()
    assert not path.exists()
    Counter(tmp_path / "gone")(ROW)  # a folder that cannot be written to: the run goes on


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the only bar shows after each evaluation of runs in this process."""
    found: list[float] = []
    made: list[tuple[Progress, Bars]] = []
    real = Bars.__init__

    def begin(self: Bars, shown: Progress, *arguments: Sequence[Job]) -> None:
        real(self, shown, *arguments)
        made.append((shown, self))

    class Looked(Counter):
        def __call__(self, row: Row) -> None:
            super().__call__(row)
            shown, bars = made[-1]
            bars.look()
            found.append(shown.tasks[-1].completed)

    monkeypatch.setattr(Bars, "__init__", begin)
    monkeypatch.setattr(job_module, "Counter", Looked)
    monkeypatch.setattr("time.monotonic", iter(range(10**9)).__next__)  # every count is old
    return found


def test_a_single_run_moves_its_bar(tmp_path: Path, seen: list[float]) -> None:  # B25
    suite = small_suite(seeds=1, evaluations=20, agents=RANDOM)
    run_here(suite, tmp_path)
    assert seen == [float(number) for number in range(1, 21)]
    assert not list(tmp_path.rglob(COUNT))
    (tmp_path / "small" / "digits" / "random" / "seed-0" / "run.json").unlink()
    seen.clear()
    run_here(suite, tmp_path)  # told again from the history
    assert seen == [float(number) for number in range(1, 21)]


class Watched(Progress):
    """Sets a file once a bar stands somewhere inside."""

    path: Path

    def update(self, task_id: Any, **changes: Any) -> None:
        super().update(task_id, **changes)
        task = self.tasks[task_id]
        if 0 < task.completed < (task.total or 0):
            self.path.touch()


def test_a_run_of_another_process_moves_its_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # B25
    """The run waits until its bar has moved: it would not end if that stood still."""
    moved = tmp_path / "moved"
    monkeypatch.setenv("EMNAS_TEST_MOVED", str(moved))
    monkeypatch.setattr(progress, "PERIOD", 0.02)
    keywords = {"space": "emnas-bench-8", "evaluator": "small_suites:Patient"}
    environment = Environment("waiting", "EmNAS-v0", 12, keywords)
    suite = small_suite(seeds=1, environments=(environment,), agents=RANDOM)
    (job,) = _jobs(suite, tmp_path)
    write_json(tmp_path / "waiting" / "environment.json", describe(environment, 0))
    shown = Watched(console=Console(file=io.StringIO()))
    shown.path = moved
    bars = Bars(shown, [job], [job])
    with following(bars):
        ProcessPool(1).run([job], run_job, lambda job, record: bars.done(job))
    assert moved.exists()
    assert _shown(shown) == [(12, 12)]


def test_the_thread_ends_with_what_it_follows(tmp_path: Path) -> None:
    jobs = _jobs(small_suite(), tmp_path)
    bars = Bars(_quiet(), jobs, jobs)

    def fails(jobs: Sequence[Job], work: Callable[..., Any], done: Callable[..., Any]) -> None:
        raise KeyboardInterrupt

    execution = InTurn()
    execution.run = fails  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt), following(bars):
        execution.run(jobs, run_job, print)
    assert "progress" not in {thread.name for thread in threading.enumerate()}
