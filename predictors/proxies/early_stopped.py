"""The evaluator that trains, but stops what will not be among the best; a search can use it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

from emnas_gym.architecture import Architecture
from emnas_gym.errors import DatasetError, EmNASError, EvaluationError
from emnas_gym.evaluator import Evaluator, Result
from emnas_gym.graph import LayerGraph
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.space import SearchSpace
from emnas_gym.tasks import Task
from predictors.datasets import Dataset, load
from predictors.proxies.curve_features import describe
from predictors.proxies.curves import LEAST, CurveExtrapolator
from predictors.proxies.elimination import Finished, Rule
from predictors.proxies.known_curves import KnownCurves, has_curves, known_curves
from predictors.training import Recipe, TrainingResult, train

Array = NDArray[np.float64]
LEARNED_FROM = 3000  # curves of a table: of 8,521 ν-SVR takes 25 s at its first decision


class EarlyStoppedEvaluator(Evaluator):
    """Trains each network until it finishes or is very probably no better than the best so far.

    What finishes has its validation accuracy, of provenance ``trained``; what is stopped has the
    accuracy that its curve is predicted to end at, of provenance ``predicted``. Results depend on
    what was evaluated before, so that no two evaluations need be equal; a search that is resumed
    begins without a best and stops less. Trainings run one after the other in this process, since
    each depends on those before. A training that has learned nothing when it is stopped begins
    again, as it would after its last epoch.

    Args:
        data: Images in three parts.
        recipe: How to train.
        rule: When to stop.
        extrapolator: Continues curves of this recipe. If None, one is fitted on the first
            trainings, none of which is then stopped.
        warm_up: Number of these.
        seed: Of every training.

    Raises:
        EmNASError: If the extrapolator is for trainings of another length, or the warm-up is too
            short to learn from.
    """

    provides = frozenset({"accuracy"})
    repeatable = False

    def __init__(
        self,
        data: Dataset,
        recipe: Recipe | None = None,
        rule: Rule | None = None,
        extrapolator: CurveExtrapolator | None = None,
        warm_up: int = 40,
        seed: int = 0,
    ) -> None:
        self.data, self.recipe, self.rule = data, recipe or Recipe(), rule or Rule()
        self.extrapolator, self.warm_up, self.seed = extrapolator, warm_up, seed
        if extrapolator is not None and extrapolator.epochs != self.recipe.epochs:
            raise EmNASError(
                f"curves of {extrapolator.epochs} epochs say nothing of trainings of "
                f"{self.recipe.epochs}; fit an extrapolator on curves of this recipe"
            )
        if extrapolator is None and warm_up < LEAST:
            raise EmNASError(f"a warm-up of {warm_up} trainings is too short; give {LEAST} or more")
        self.finished, self.stopped, self.images = Finished(), 0, 0
        self._curves: list[tuple[float, ...]] = []
        self._described: list[Array] = []

    @classmethod
    def for_problem(cls, problem: Problem) -> Self:
        """Makes the evaluator with the images of the problem's task.

        Where the committed table holds curves of the space and task, the extrapolator is fitted on
        those of its training part; elsewhere on the first trainings.

        Raises:
            DatasetError: If the task has no images, or they have another shape.
        """
        data = load(problem.task.name, problem.task.input_shape[0])
        if data.task != problem.task:
            raise DatasetError(f"the images are {data.task}, the problem is {problem.task}")
        known = has_curves(problem.space, problem.task, Recipe())
        return cls(data, extrapolator=from_table(problem.space, problem.task) if known else None)

    @property
    def equivalents(self) -> float:
        """Images trained on so far ÷ images of one whole attempt."""
        return self.images / (self.recipe.epochs * len(self.data.train_x))

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        return [self._measure(architecture.graph(self.data.task)) for architecture in batch]

    def _measure(self, graph: LayerGraph) -> Result:
        described, bound = describe([graph], self.recipe), self._bound()

        def hopeless(curve: list[float]) -> bool:
            return bound is not None and self._is_hopeless(curve, described, bound)

        try:
            result = train(graph, self.data, self.seed, self.recipe, watch=hopeless)
        except EvaluationError as error:
            return error
        self.images += result.images
        if len(result.curve) < self.recipe.epochs:
            return self._predicted(result, described)
        self._note(result, described)
        return Measurement.of("trained", accuracy=result.valid_accuracy, seconds=result.seconds)

    def _bound(self) -> float | None:
        return None if self.extrapolator is None else self.finished.bound(self.rule)

    def _is_hopeless(self, curve: list[float], described: Array, bound: float) -> bool:
        if not self.rule.first <= len(curve) < self.recipe.epochs:
            return False
        assert self.extrapolator is not None
        probability = self.extrapolator.at_most(np.array([curve]), described, bound)[0]
        return bool(probability >= self.rule.probability)

    def _predicted(self, result: TrainingResult, described: Array) -> Measurement:
        assert self.extrapolator is not None
        self.stopped += 1
        accuracy = self.extrapolator.predict(np.array([result.curve]), described)[0][0]
        return Measurement.of("predicted", accuracy=float(accuracy), seconds=result.seconds)

    def _note(self, result: TrainingResult, described: Array) -> None:
        """Remembers a training that finished; the last of the warm-up is learned from."""
        self.finished.add(result.valid_accuracy)
        if self.extrapolator is not None:
            return
        self._curves.append(result.curve)
        self._described.append(described[0])
        if len(self._curves) == self.warm_up:
            curves, rows = np.array(self._curves), np.array(self._described)
            self.extrapolator = CurveExtrapolator(curves, rows, choose_at=self.rule.first)

    def remarks(self) -> list[str]:
        """How many trainings were stopped, and what all cost."""
        count = self.stopped + len(self.finished.accuracies)
        if not count:
            return []
        return [
            f"early-stopped: {self.stopped} of {count} trainings were stopped and have a predicted "
            f"accuracy; all cost {self.equivalents:.1f} full-training equivalents"
        ]


@lru_cache(maxsize=2)
def from_table(space: SearchSpace, task: Task) -> CurveExtrapolator:
    """The extrapolator of the committed table's training networks, the first 3,000 of them.

    Raises:
        StoreError: If there is no table, or it is damaged.
    """
    known = learned_from(space, task)
    return CurveExtrapolator(known.curves, known.described, choose_at=Rule.first)


def learned_from(space: SearchSpace, task: Task) -> KnownCurves:
    """The curves that the extrapolator of a table is fitted on.

    Raises:
        StoreError: If there is no table, or it is damaged.
    """
    known = known_curves(space, task)
    return known.part(range(min(len(known.networks), LEARNED_FROM)))
