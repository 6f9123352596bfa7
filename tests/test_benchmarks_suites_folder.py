"""The folder of a suite: full disks, two runners, other versions, damage, partial results."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from small_suites import few_draws, rows_of, run_here, small_suite

from benchmarks.suites.collect import collect_result
from benchmarks.suites.execution import Done, InTurn, Job, Work
from benchmarks.suites.folder import claimed
from benchmarks.suites.job import run_job
from benchmarks.suites.run import Part
from emnas_gym.errors import StoreError, UnknownName
from emnas_gym.history import History

pytestmark = pytest.mark.usefixtures(few_draws.__name__)


class Breaks(InTurn):
    """Is interrupted after some runs, as by Ctrl-C."""

    def __init__(self, after: int) -> None:
        self.after = after

    def run(self, jobs: list[Job], work: Work, done: Done) -> None:  # type: ignore[override]
        super().run(jobs[: self.after], work, done)
        raise KeyboardInterrupt


@contextmanager
def _files_up_to(size: int) -> Iterator[None]:
    """No file of this process grows beyond a size: writes fail as on a full disk, really."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (300, "suite.json cannot be written"),  # before anything
        (60_000, "history.sqlite: .*not writable"),  # amid the evaluations
    ],
)
def test_on_a_full_disk_nothing_is_lost(tmp_path: Path, size: int, message: str) -> None:  # B25
    suite = small_suite(seeds=1)
    with _files_up_to(size), pytest.raises(StoreError, match=message):
        run_here(suite, tmp_path / "full")
    measured = list(tmp_path.rglob("history.sqlite"))
    kept = 0
    for path in measured:
        history = History(path)
        kept += len(history)
        history.close()
    assert kept > 0 or size < 1000
    run_here(suite, tmp_path / "full")
    run_here(suite, tmp_path / "whole")
    assert rows_of(tmp_path / "full") == rows_of(tmp_path / "whole")


def test_a_result_that_finds_no_room_is_written_by_the_next_run(tmp_path: Path) -> None:
    suite = small_suite(seeds=1, evaluations=12)
    with pytest.raises(KeyboardInterrupt):
        run_here(suite, tmp_path, execution=Breaks(2))
    with _files_up_to(4000), pytest.raises(StoreError, match=r"result.json cannot be written"):
        run_here(suite, tmp_path)
    assert not (tmp_path / "small" / "result.json").exists(), "a torn file is worse than none"
    result = run_here(suite, tmp_path)
    stored = json.loads((tmp_path / "small" / "result.json").read_text(encoding="utf-8"))
    assert stored == json.loads(json.dumps(result))


def test_a_seed_run_twice_is_run_once(tmp_path: Path) -> None:  # B25
    suite = small_suite(seeds=1, evaluations=12)
    first = run_here(suite, tmp_path)
    then = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.json*")}
    then.pop(tmp_path / "small" / "result.json")
    again = run_here(suite, tmp_path)
    assert again == first
    assert all(path.stat().st_mtime_ns == time for path, time in then.items())
    job = Job(suite, "digits", "random", 0, str(tmp_path / "small"))
    assert run_job(job) == {k: v for k, v in first["runs"][0].items() if k != "verified"}


def test_a_seed_that_runs_elsewhere_is_left_alone(tmp_path: Path) -> None:
    suite = small_suite(seeds=1, evaluations=12)
    with pytest.raises(KeyboardInterrupt):
        run_here(suite, tmp_path, execution=Breaks(0))
    folder = tmp_path / "small"
    history = History(folder / "digits" / "random" / "seed-0" / "history.sqlite")
    with pytest.raises(StoreError, match="in use by another process"):
        run_job(Job(suite, "digits", "random", 0, str(folder)))
    history.close()
    assert run_job(Job(suite, "digits", "random", 0, str(folder)))["evaluations"] == 12


def test_two_runners_do_not_share_a_folder(tmp_path: Path) -> None:
    suite = small_suite(seeds=1, evaluations=12)
    with claimed(tmp_path / "small", suite, "the first"):
        with pytest.raises(StoreError, match=r"suite.json is in use by another process"):
            run_here(suite, tmp_path)
    assert run_here(suite, tmp_path)["command"] == "the first"


def test_another_version_of_the_suite_says_what_differs(tmp_path: Path) -> None:
    suite = small_suite(seeds=1, evaluations=12)
    before = run_here(suite, tmp_path)
    other = replace(suite, seeds=2, reference=0)
    with pytest.raises(StoreError, match=r"another version of the suite \(other seeds, reference"):
        run_here(other, tmp_path)
    assert collect_result(tmp_path / "small") == json.loads(json.dumps(before))


def test_an_interrupted_suite_tells_what_is_there(tmp_path: Path) -> None:
    suite = small_suite(seeds=3, evaluations=12)
    with pytest.raises(KeyboardInterrupt):
        run_here(suite, tmp_path, execution=Breaks(3))  # both agents' seed 0, random's seed 1
    result = collect_result(tmp_path / "small")
    assert not result["finished"]
    assert len(result["runs"]) == 3
    assert result["missing"] == [
        {"env": "digits", "agent": "evolution", "seed": 1},
        {"env": "digits", "agent": "random", "seed": 2},
        {"env": "digits", "agent": "evolution", "seed": 2},
    ]
    counts = {label: row["n"] for label, row in result["statistics"]["digits"].items()}
    assert counts == {"random": 2, "evolution": 1}
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    whole = run_here(suite, tmp_path)
    assert whole["finished"]
    assert [r for r in whole["runs"] if r["seed"] == 0] == result["runs"][:2]


def test_before_the_first_run_there_is_nothing_to_tell(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no suite was begun there; run"):
        collect_result(tmp_path)
    suite = small_suite(seeds=1, evaluations=12)
    with claimed(tmp_path / "small", suite, "begun"):
        pass
    with pytest.raises(StoreError, match="no run of the suite was begun"):
        collect_result(tmp_path / "small")
    with pytest.raises(KeyboardInterrupt):
        run_here(suite, tmp_path, execution=Breaks(0))
    empty = collect_result(tmp_path / "small")
    assert (empty["runs"], empty["statistics"]) == ([], {"digits": {}})
    assert empty["profiles"] == empty["curves"] == {"digits": None}


def test_a_part_of_a_suite_leaves_the_others_missing(tmp_path: Path) -> None:
    suite = small_suite(seeds=2, evaluations=12)
    part = run_here(suite, tmp_path, Part(agents=("random",)))
    assert {run["agent"] for run in part["runs"]} == {"random"}
    assert len(part["missing"]) == 2
    assert run_here(suite, tmp_path, Part(envs=("digits",)))["finished"]
    with pytest.raises(UnknownName, match="'evolutoin': did you mean evolution"):
        run_here(suite, tmp_path, Part(agents=("evolutoin",)))
    with pytest.raises(UnknownName, match="unknown environment of small 'digit'"):
        run_here(suite, tmp_path, Part(envs=("digit",)))


@pytest.mark.parametrize("content", ["", "{", "[]", '{"env": "digits"}', "[" * 100_000])
def test_a_damaged_run_is_named(tmp_path: Path, content: str) -> None:
    suite = small_suite(seeds=1, evaluations=12)
    run_here(suite, tmp_path)
    path = tmp_path / "small" / "digits" / "random" / "seed-0" / "run.json"
    good = path.read_text(encoding="utf-8")
    path.write_text(content, encoding="utf-8")
    for look in (lambda: run_here(suite, tmp_path), lambda: collect_result(tmp_path / "small")):
        with pytest.raises(StoreError, match=r"run.json is damaged .*remove it"):
            look()
    path.write_text(good.replace('"seed": 0', '"seed": 1'), encoding="utf-8")
    with pytest.raises(StoreError, match=r"run.json is of another run; remove it"):
        run_here(suite, tmp_path)
    path.unlink()
    assert run_here(suite, tmp_path)["finished"]
