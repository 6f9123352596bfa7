"""The evaluator that really trains: validation accuracy of networks, in parallel processes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from emnas_gym.architecture import Architecture
from emnas_gym.errors import DatasetError, EvaluationError
from emnas_gym.evaluator import Evaluator, Result
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from predictors.datasets import Dataset, load
from predictors.training import Recipe, TrainingResult, train
from predictors.workers import ended_on_error, make_pool


@dataclass(frozen=True)
class Verified:
    """Several trainings of one network.

    Attributes:
        results: One training per seed.
    """

    results: tuple[TrainingResult, ...]

    @property
    def test_accuracies(self) -> list[float]:
        """Test accuracy per seed: on images that no search has seen."""
        return [result.test_accuracy for result in self.results]

    @property
    def best(self) -> TrainingResult:
        """The training of highest validation accuracy; its weights are exported."""
        return max(self.results, key=lambda result: result.valid_accuracy)


class TrainedEvaluator(Evaluator):
    """Trains every network from scratch and reports its validation accuracy.

    Args:
        data: Images in three parts.
        recipe: How to train.
        seeds: Trainings of each network, averaged.
        workers: Parallel processes with one thread each; 0 is the number of cores, and 1 trains
            in this process.
    """

    provides = frozenset({"accuracy"})

    def __init__(
        self, data: Dataset, recipe: Recipe | None = None, seeds: int = 1, workers: int = 0
    ) -> None:
        self.data, self.recipe, self.seeds = data, recipe or Recipe(), seeds
        self.workers = workers or os.cpu_count() or 1
        self._pool: ProcessPoolExecutor | None = None

    @classmethod
    def for_problem(cls, problem: Problem) -> Self:
        """Makes the evaluator with the images of the problem's task.

        Raises:
            DatasetError: If the task has no images, or they have another shape.
        """
        data = load(problem.task.name, problem.task.input_shape[0])
        if data.task != problem.task:
            raise DatasetError(f"the images are {data.task}, the problem is {problem.task}")
        return cls(data)

    @property
    def rests_on(self) -> dict[str, Any]:
        """Images, recipe and the number of seeds."""
        recipe = self.recipe.to_json()
        return {"images": self.data.digest, "recipe": recipe, "seeds": self.seeds}

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        outcomes = self.train(batch, range(self.seeds))
        return [average(outcome) for outcome in outcomes]

    def train(
        self, batch: Sequence[Architecture], seeds: Sequence[int]
    ) -> list[Verified | EvaluationError]:
        """Trains each network once per seed.

        Returns:
            For each network all its trainings, or the error of one that failed.

        Raises:
            EmNASError: If a worker process died.
        """
        jobs = [(architecture, seed) for architecture in batch for seed in seeds]
        trained, count = self._train_all(jobs), len(seeds)
        return [group(trained[i : i + count]) for i in range(0, len(trained), count)]

    def _train_all(self, jobs: Sequence[tuple[Architecture, int]]) -> list[Trained]:
        if self.workers == 1 or len(jobs) == 1:
            return [train_one(self.data, self.recipe, *job) for job in jobs]
        return self._train_apart(jobs)

    def _train_apart(self, jobs: Sequence[tuple[Architecture, int]]) -> list[Trained]:
        pool, self._pool = self._processes(), None  # kept where nothing goes wrong
        with ended_on_error(pool):
            trained = list(pool.map(_train_here, *zip(*jobs, strict=True)))
        self._pool = pool
        return trained

    def _processes(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = make_pool(self.workers, _start_worker, (self.data, self.recipe))
        return self._pool

    def close(self) -> None:
        """Ends the worker processes."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


Trained = TrainingResult | EvaluationError
_settings: tuple[Dataset, Recipe] | None = None


def _start_worker(data: Dataset, recipe: Recipe) -> None:
    global _settings
    _settings = (data, recipe)


def _train_here(architecture: Architecture, seed: int) -> Trained:
    assert _settings is not None
    return train_one(*_settings, architecture, seed)


def train_one(data: Dataset, recipe: Recipe, architecture: Architecture, seed: int) -> Trained:
    """Trains one network with one seed; what goes wrong with it is its answer."""
    try:
        return train(architecture.graph(data.task), data, seed, recipe)
    except EvaluationError as error:
        return error


def group(trained: Sequence[Trained]) -> Verified | EvaluationError:
    """All trainings of one network, or the error of one that failed."""
    results = []
    for result in trained:
        if isinstance(result, EvaluationError):
            return result
        results.append(result)
    return Verified(tuple(results))


def average(outcome: Verified | EvaluationError) -> Result:
    """What trainings of one network measure: the mean of their validation accuracies."""
    if isinstance(outcome, EvaluationError):
        return outcome
    accuracy = float(np.mean([result.valid_accuracy for result in outcome.results]))
    seconds = sum(result.seconds for result in outcome.results)
    return Measurement.of("trained", accuracy=accuracy, seconds=seconds)
