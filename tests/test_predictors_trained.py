"""The evaluator that really trains: the same in one process and in several, failures in place."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import BUDGETS, TINY

from emnas_gym.env import EmNASEnv
from emnas_gym.errors import DatasetError, EmNASError, EvaluationError
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.registry import make_evaluator
from emnas_gym.tasks import Task
from predictors.datasets import Dataset, digits
from predictors.trained import TrainedEvaluator, Verified
from predictors.training import Recipe, train

ONE = Recipe(epochs=1, init_images=32)
NETWORKS = [TINY.architecture(tokens) for tokens in ((1, 9), (2, 2, 9), (3, 4, 7, 9))]


def _few() -> Dataset:
    data = digits()
    return replace(data, train_x=data.train_x[:96], train_y=data.train_y[:96])


@pytest.fixture(scope="module")
def pooled() -> Iterator[TrainedEvaluator]:
    """One pool for all tests: starting its processes takes the most time."""
    evaluator = TrainedEvaluator(_few(), ONE, seeds=2, workers=2)
    yield evaluator
    evaluator.close()


def test_several_processes_train_the_very_same_bits(pooled: TrainedEvaluator) -> None:  # D1
    alone = TrainedEvaluator(_few(), ONE, seeds=2, workers=1)
    apart, here = pooled.train(NETWORKS, (0, 5)), alone.train(NETWORKS, (0, 5))
    for network, one, other in zip(NETWORKS, apart, here, strict=True):
        assert isinstance(one, Verified)
        assert isinstance(other, Verified)
        direct = train(network.graph(_few().task), _few(), 5, ONE)
        for a, b in [*zip(one.results, other.results, strict=True), (one.results[1], direct)]:
            assert (a.curve, a.test_accuracy) == (b.curve, b.test_accuracy)
            assert all(np.array_equal(a.weights[n], b.weights[n]) for n in a.weights)
    assert alone._pool is None, "one worker is this process"


def test_accuracy_is_the_mean_over_seeds_of_the_validation_part(  # E1, E2
    pooled: TrainedEvaluator,
) -> None:
    measured = pooled.evaluate(NETWORKS)
    for network, result in zip(NETWORKS, measured, strict=True):
        assert isinstance(result, Measurement)
        runs = [train(network.graph(_few().task), _few(), seed, ONE) for seed in range(2)]
        assert result.accuracy == pytest.approx(np.mean([run.valid_accuracy for run in runs]))
        assert result.provenance == {"accuracy": "trained"}
        assert result.seconds > 0


def test_the_best_is_chosen_without_the_test_part() -> None:
    def result(valid: float, test: float) -> object:
        run = train(NETWORKS[0].graph(_few().task), _few(), 0, ONE)
        return replace(run, valid_accuracy=valid, test_accuracy=test)

    runs = (result(0.6, 0.9), result(0.8, 0.5), result(0.7, 0.7))
    verified = Verified(runs)  # type: ignore[arg-type]
    assert verified.best is runs[1]
    assert verified.test_accuracies == [0.9, 0.5, 0.7]


def test_a_failure_keeps_its_place() -> None:
    with np.errstate(all="ignore"):
        broken = replace(_few(), train_x=np.full_like(_few().train_x, np.inf))
    results = TrainedEvaluator(broken, ONE, workers=1).evaluate(NETWORKS)
    assert all(isinstance(r, EvaluationError) and "not finite" in str(r) for r in results)


def test_a_worker_that_dies_is_explained() -> None:
    evaluator = TrainedEvaluator(_few(), Recipe(epochs=200), workers=2)
    pool = evaluator._processes()
    pool.submit(os.getpid).result()
    victim = next(iter(pool._processes.values()))
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    with pytest.raises(EmNASError, match=r"a worker process died.*try fewer workers"):
        evaluator.evaluate(NETWORKS)
    evaluator.close()
    assert evaluator._pool is None


def test_close_ends_the_processes(pooled: TrainedEvaluator) -> None:
    evaluator = TrainedEvaluator(_few(), ONE, workers=1)
    evaluator.close()
    pooled.evaluate(NETWORKS)
    assert pooled._pool is not None
    processes = list(pooled._pool._processes.values())
    assert all(process.is_alive() for process in processes)
    pooled.close()
    assert not any(process.is_alive() for process in processes)
    assert pooled.evaluate([]) == []
    pooled.close()


def test_by_name_it_has_the_images_of_the_task() -> None:
    problem = Problem.make(TINY, budgets=BUDGETS)
    stack = make_evaluator("trained", problem)
    assert stack.provides >= {"accuracy", "latency_ms", "flash_bytes"}
    with pytest.raises(DatasetError, match="'grasp' has a shape and surrogates but no images"):
        make_evaluator("trained", Problem.make(TINY, "grasp", "sipeed-maix-bit"))
    odd = Problem.make(TINY, Task("digits", (8, 8, 1), 10), budgets=BUDGETS)
    with pytest.raises(DatasetError, match="the images are .*the problem is"):
        TrainedEvaluator.for_problem(odd)


def test_an_episode_can_really_train() -> None:  # E10, B27
    evaluator = TrainedEvaluator(_few(), Recipe(epochs=6), workers=1)
    env = EmNASEnv(space=TINY, budgets=BUDGETS, evaluator=[evaluator])
    env.reset(seed=0)
    env.step(np.int64(2))
    _, reward, terminated, _, info = env.step(np.int64(9))
    assert terminated
    assert info["measurement"]["accuracy"] > 0.3, "three times chance"
    assert reward == pytest.approx(env.problem.reward.range[1], rel=0.8)


def test_images_of_the_users_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = rng.integers(0, 100, (60, 9, 11, 3), dtype=np.uint8) + (100 * y)[:, None, None, None]
    np.savez(tmp_path / "own.npz", x=x.astype(np.uint8), y=y)
    task = Task(str(tmp_path / "own.npz"), (9, 11, 3), 2)
    evaluator = TrainedEvaluator.for_problem(Problem.make(TINY, task))
    assert evaluator.data.task == task
    short = TrainedEvaluator(evaluator.data, Recipe(epochs=10), workers=1)
    result = short.evaluate([NETWORKS[0]])[0]
    assert isinstance(result, Measurement)
    assert result.accuracy == 1.0, "brightness tells the classes apart"
