"""A Ray cluster of this machine: equal bits, boards held by one, killed workers lose nothing."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import BUDGETS, TINY

pytest.importorskip("ray", reason="needs the package ray")

import ray
from ray_jobs import Job, die, hold, refuse, rows_of, search_slowly, stumble, threads
from small_suites import few_draws, run_here, suite_text
from small_suites import rows_of as suite_rows
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.suites.ray_execution import RayExecution
from benchmarks.suites.suite import load_suite
from emnas_gym.errors import BackendMissing, EmNASError, EvaluationError, EvaluationStopped
from emnas_gym.ledger import Ledger
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.registry import EXTRAS, make_evaluator
from predictors.datasets import Dataset, digits
from predictors.ray_cluster import (
    Cluster,
    ClusterUnreachable,
    Placement,
    PlacementError,
    WorkerLost,
    board_resource,
)
from predictors.ray_trained import RayTrainedEvaluator
from predictors.trained import TrainedEvaluator, Verified
from predictors.training import Recipe

ROOT = Path(__file__).parents[1]
ONE = Recipe(epochs=1, init_images=32, attempts=1)
NETWORKS = [TINY.architecture(tokens) for tokens in ((1, 9), (2, 2, 9), (3, 4, 7, 9))]
BOARD = "stm32f746zg"


@pytest.fixture(scope="session")
def cluster(ray_cluster: None) -> Cluster:
    """The cluster of `conftest`."""
    return Cluster()


def _few() -> Dataset:
    data = digits()
    return replace(data, train_x=data.train_x[:96], train_y=data.train_y[:96])


# ------------------------------------------------------------------------------ trainings


def test_trainings_on_a_cluster_are_the_very_same_bits(cluster: Cluster) -> None:
    apart = RayTrainedEvaluator(_few(), ONE, seeds=2)
    alone = TrainedEvaluator(_few(), ONE, seeds=2, workers=1)
    far, here = apart.train(NETWORKS, (0, 5)), alone.train(NETWORKS, (0, 5))
    for one, other in zip(far, here, strict=True):
        assert isinstance(one, Verified)
        assert isinstance(other, Verified)
        for a, b in zip(one.results, other.results, strict=True):
            assert (a.curve, a.test_accuracy) == (b.curve, b.test_accuracy)
            assert all(np.array_equal(a.weights[n], b.weights[n]) for n in a.weights)
    assert apart.evaluate(NETWORKS) == alone.evaluate(NETWORKS)
    assert apart.rests_on == alone.rests_on
    apart.close()
    assert ray.is_initialized(), "who has not joined does not leave"


def test_it_has_a_name_and_says_what_is_missing(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = make_evaluator("trained-ray", Problem.make(TINY, budgets=BUDGETS))
    assert "accuracy" in stack.provides
    assert EXTRAS["ray"] == "ray"
    monkeypatch.setitem(sys.modules, "ray", None)
    for name in [name for name in sys.modules if name.startswith("predictors.ray_")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(BackendMissing, match=r"emnas-gym\[ray\]"):
        make_evaluator("trained-ray", Problem.make(TINY, budgets=BUDGETS))


def test_a_network_that_cannot_be_trained_keeps_its_place(cluster: Cluster) -> None:
    with np.errstate(all="ignore"):
        broken = replace(_few(), train_x=np.full_like(_few().train_x, np.inf))
    results = RayTrainedEvaluator(broken, ONE).evaluate(NETWORKS)
    assert all(isinstance(r, EvaluationError) and "not finite" in str(r) for r in results)


def test_what_was_trained_before_workers_were_lost_is_kept(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cluster gives up after the first trainings; the ledger keeps them."""
    real = Cluster.each

    def some(self: Cluster, *arguments: object) -> Iterator[tuple[int, object]]:
        for count, answer in enumerate(real(self, *arguments)):  # type: ignore[arg-type]
            if count == 2:
                raise WorkerLost("killed")
            yield answer

    monkeypatch.setattr(Cluster, "each", some)
    problem = Problem.make(TINY, budgets=BUDGETS)
    evaluator = make_evaluator([RayTrainedEvaluator(_few(), ONE)], problem)
    ledger = Ledger(evaluator, problem, 3)
    with pytest.raises(EvaluationStopped):
        ledger.evaluate(NETWORKS)
    kept = list(ledger.history.kept().values())
    assert len(kept) == 2
    assert all(isinstance(result, Measurement) for result in kept)


# ------------------------------------------------------------------------------- a suite


def test_folders_are_absolute_on_the_way(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[str] = []
    RayExecution().run([Job(0, "here")], _folder, lambda job, folder: seen.append(folder))
    assert seen == [str(tmp_path / "here")]
    with pytest.raises(EmNASError, match="a dataclass with a folder"):
        RayExecution().run([_Odd()], _folder, lambda job, folder: None)


SUITE = suite_text(
    """
name = "mine"
evaluations = 30
seeds = 2
reference = 20
""",
    evolution="population = 10, tournament = 3",
)


@pytest.mark.usefixtures(few_draws.__name__)
def test_the_command_on_a_cluster_gives_the_rows_of_this_machine(
    cluster: Cluster, tmp_path: Path
) -> None:  # B25
    suite = tmp_path / "mine.toml"
    suite.write_text(SUITE, encoding="utf-8")
    command = ["run", str(suite), "--json", "--out"]
    far = [*command, str(tmp_path / "far"), "--ray", "auto"]
    done = CliRunner().invoke(app, far, catch_exceptions=False)
    assert done.exit_code == 0
    assert ray.is_initialized(), "who has not joined does not leave"
    result = json.loads(done.stdout)
    assert result["finished"]
    assert len(result["runs"]) == 4
    here = run_here(load_suite(str(suite)), tmp_path / "here")
    assert suite_rows(tmp_path / "far") == suite_rows(tmp_path / "here")
    assert len(suite_rows(tmp_path / "far")) == 2 * 4
    assert result["statistics"] == json.loads(json.dumps(here["statistics"]))


class _Odd:
    folder = "here"


def _folder(job: Job) -> str:
    return job.folder


def test_two_tasks_never_share_a_board(cluster: Cluster, tmp_path: Path) -> None:
    jobs = [(str(tmp_path), number) for number in range(4)]
    placement = Placement(cpus=0.5, resources=board_resource(BOARD))
    assert sorted(cluster.each(hold, jobs, placement)) == [(i, i) for i in range(4)]
    times = sorted(json.loads(path.read_text()) for path in tmp_path.glob("*.json"))
    assert len(times) == 4
    for (_, end), (start, _) in itertools.pairwise(times):
        assert end <= start


def test_a_board_that_nobody_has_is_named(cluster: Cluster) -> None:
    placement = Placement(resources=board_resource("k210"))
    with pytest.raises(PlacementError, match=r"board:k210 = 1 \(there are: .*board:stm32f746zg"):
        next(cluster.each(hold, [("", 0)], placement))


# ---------------------------------------------------------------------------- what goes wrong


def test_errors_come_back_as_what_they_are(cluster: Cluster) -> None:
    with pytest.raises(EvaluationError, match="job 3 is refused"):
        list(cluster.each(refuse, [(3,)]))
    with pytest.raises(ZeroDivisionError):
        list(cluster.each(stumble, [(3,)]))


def test_workers_use_one_thread(cluster: Cluster) -> None:
    assert list(cluster.each(threads, [(0,)])) == [(0, 1)]


def test_another_version_is_refused(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("predictors.ray_cluster.__version__", "0.0.0")
    with pytest.raises(EmNASError, match=r"the driver 0\.0\.0: use one checkout"):
        list(cluster.each(threads, [(0,)]))


def test_a_folder_that_a_node_does_not_see_is_named(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "benchmarks.suites.ray_execution._mark", lambda folder: str(folder / "gone")
    )
    with pytest.raises(EmNASError, match="does not see .*a folder that all"):
        RayExecution().run([Job(0, str(tmp_path))], _folder, lambda job, folder: None)


def test_a_cluster_that_does_not_answer_is_named() -> None:
    """In a process of its own: this one has joined a cluster already."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    script = (
        "from predictors.ray_cluster import Cluster, ClusterUnreachable\n"
        f"for address in ('{address}', 'nowhere:abc'):\n"
        "    try:\n"
        "        Cluster(address)\n"
        "    except ClusterUnreachable as error:\n"
        "        print(error)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment
    )
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    assert all("ray start --head" in line for line in lines)
    assert f"no Ray cluster answers at {address}" in lines[0]
    assert issubclass(ClusterUnreachable, ConnectionError)


# ------------------------------------------- the last tests kill workers, which start slowly


def test_a_killed_worker_loses_nothing(cluster: Cluster, tmp_path: Path) -> None:
    found: dict[int, object] = {}
    jobs = [Job(seed, str(tmp_path)) for seed in (0, 1)]
    killed: list[int] = []

    def kill() -> None:
        pids, history = (tmp_path / "seed-0" / name for name in ("pids", "history.sqlite-wal"))
        while not (history.exists() and history.stat().st_size > 30_000):
            time.sleep(0.01)
        killed.append(int(pids.read_text().split()[0]))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    RayExecution().run(jobs, search_slowly, lambda job, rows: found.update({job.seed: rows}))
    killer.join()
    begun = [int(pid) for pid in (tmp_path / "seed-0" / "pids").read_text().split()]
    assert begun[0] == killed[0]
    assert len(begun) == 2, "begun again, once"
    assert found == {seed: rows_of(seed) for seed in (0, 1)}
    assert not list(tmp_path.glob(".seen-*"))


def test_retries_are_bounded(cluster: Cluster) -> None:
    with pytest.raises(WorkerLost, match="job 0 was tried 2 times"):
        list(cluster.each(die, [(0,)], Placement(tries=2)))
