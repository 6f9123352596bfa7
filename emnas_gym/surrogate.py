"""The default evaluator: accuracy, and where it was measured latency, predicted in numpy.

Surrogates are fitted by `python -m predictors fit` on networks that were really trained and
measured, and shipped as files. Outside what they were fitted for they raise instead of guessing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from emnas_gym.architecture import Architecture
from emnas_gym.errors import DomainError, EvaluationError, ShapeError, SurrogateFileError
from emnas_gym.evaluator import Domain, Evaluator, Result
from emnas_gym.features import layer_table, network_features
from emnas_gym.graph import Shape
from emnas_gym.measurement import Measurement
from emnas_gym.models.additive import AdditiveCosts
from emnas_gym.models.ensemble import Ensemble
from emnas_gym.models.recurrent import RecurrentEnsemble
from emnas_gym.problem import Problem
from emnas_gym.surrogate_file import (
    Surrogate,
    read_surrogate,
    shipped_folder,
    surrogate_name,
    surrogate_names,
)
from emnas_gym.tasks import Task

DECIMALS = 9  # sums over a batch differ in the last bits with its size; rounded they do not
FEASIBLE = 0.5  # least probability of running at which a network counts as feasible
Array = NDArray[np.float64]
Layers = tuple[Array, NDArray[np.int64]]  # features of layers (N, L, F), lengths (N,)


class SurrogateEvaluator(Evaluator):
    """Predicts what was fitted for a space, a task and a device.

    Args:
        accuracy: Predicts the accuracy, and sets space, task and lengths.
        task: The task that it was fitted on.
        latency: Predicts the latency on a device, where that was fitted.
        feasible: Predicts whether a network runs on the device at all, where that was fitted.

    Raises:
        SurrogateFileError: If the parts do not belong together.
    """

    def __init__(
        self,
        accuracy: Surrogate,
        task: Task,
        latency: Surrogate | None = None,
        feasible: Surrogate | None = None,
    ) -> None:
        self.accuracy, self.task, self.latency, self.feasible = accuracy, task, latency, feasible
        parts = [part for part in (accuracy, latency, feasible) if part is not None]
        _check_parts(parts, task)
        lengths = (max(p.lengths[0] for p in parts), min(p.lengths[1] for p in parts))
        device = next((part.device for part in parts if part.device), None)
        self.domain = Domain(accuracy.space_fingerprint, task.name, device, lengths)
        self.provides = frozenset({"accuracy"} | ({"latency_ms"} if latency else set()))
        self._layer_costs: dict[tuple[Shape, int], tuple[Shape, float]] = {}

    @classmethod
    def for_problem(cls, problem: Problem) -> Self:
        """Makes the evaluator of a problem from the files of the package.

        Raises:
            DomainError: If no surrogate was fitted for it; says what differs and what to do.
            SurrogateFileError: If a file is damaged.
        """
        return cls.from_folder(problem, shipped_folder())

    @classmethod
    def from_folder(cls, problem: Problem, folder: Path) -> Self:
        """Makes the evaluator of a problem from the files of a folder.

        Args:
            problem: What is evaluated.
            folder: Where `python -m predictors fit --out` wrote.

        Raises:
            DomainError: If no surrogate was fitted for it; says what differs and what to do.
            SurrogateFileError: If a file is damaged.
        """
        space, task, device = problem.space.name, problem.task.name, problem.device.name
        known = surrogate_names(folder)
        accuracy = surrogate_name(space, task, None, "accuracy")
        if accuracy not in known:
            raise DomainError(_nothing_fitted(space, task, known))
        found = [
            read_surrogate(folder / f"{name}.json") if name in known else None
            for name in (surrogate_name(space, task, device, f) for f in ("latency_ms", "feasible"))
        ]
        fitted = read_surrogate(folder / f"{accuracy}.json")
        if (problem.task.input_shape, problem.task.classes) != (fitted.input_shape, fitted.classes):
            asked = f"images {problem.task.input_shape} of {problem.task.classes} classes"
            measured = f"{fitted.input_shape} and {fitted.classes}"
            raise DomainError(f"{task}: {asked} instead of {measured}; {_what_to_do(space, task)}")
        evaluator = cls(fitted, problem.task, *found)
        difference = evaluator.domain.difference(problem)
        if difference:
            raise DomainError(
                f"the surrogate of {space} on {task} was asked for {difference}; "
                f"{_what_to_do(space, task)}"
            )
        return evaluator

    def predict(self, batch: Sequence[Architecture]) -> tuple[Array, Array]:
        """Accuracy and how far the members of the ensemble lie apart.

        Args:
            batch: Architectures of the surrogate's space.

        Returns:
            Mean and standard deviation over the members, each of shape (N,).

        Raises:
            DomainError: If one is of another space or length.
            ShapeError: If one of them cannot be built.
        """
        self._check(batch)
        table = layer_table(batch[0].space, self.task)
        layers = table.gather([table.walk(a.canonical) for a in batch])
        return _predict(self.accuracy, layers)

    def _check(self, batch: Sequence[Architecture]) -> None:
        assert self.domain.lengths is not None
        low, high = self.domain.lengths
        for architecture in batch:
            if architecture.space.fingerprint != self.accuracy.space_fingerprint:
                raise DomainError(
                    f"{architecture!r} is not of the space {self.accuracy.space} "
                    f"({self.accuracy.space_fingerprint}) on which the surrogate was fitted; "
                    f"{_what_to_do(architecture.space.name, self.task.name)}"
                )
            if not low <= len(architecture.tokens) <= high:
                raise DomainError(
                    f"{len(architecture.tokens)} tokens instead of {low} to {high}, on which the "
                    f"surrogate was fitted; {_what_to_do(self.accuracy.space, self.task.name)}"
                )

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        self._check(batch)
        table = layer_table(batch[0].space, self.task)
        results: list[Result] = []
        walks: dict[int, list[int]] = {}
        for i, architecture in enumerate(batch):
            results.append(EvaluationError("not measured"))
            try:
                walks[i] = table.walk(architecture.canonical)
            except ShapeError as error:
                results[i] = EvaluationError(f"{architecture!r} cannot be built: {error}")
        if walks:
            layers = table.gather(list(walks.values()))
            for i, measurement in zip(
                walks, self._measure(layers, [batch[i] for i in walks]), strict=True
            ):
                results[i] = measurement
        return results

    def _measure(self, layers: Layers, batch: list[Architecture]) -> list[Measurement]:
        accuracy = _predict(self.accuracy, layers)[0].tolist()
        latency = self._latency(layers, batch)
        feasible: list[bool | None] = [None] * len(batch)
        if self.feasible is not None:
            feasible = (_predict(self.feasible, layers)[0] >= FEASIBLE).tolist()
        return [
            Measurement.of("predicted", accuracy=a, latency_ms=t, feasible=f)
            for a, t, f in zip(accuracy, latency, feasible, strict=True)
        ]

    def _latency(self, layers: Layers, batch: list[Architecture]) -> Sequence[float | None]:
        if self.latency is None:
            return [None] * len(batch)
        if isinstance(self.latency.model, AdditiveCosts):
            return [self._summed(self.latency.model, a) for a in batch]
        predicted: list[float] = _predict(self.latency, layers)[0].tolist()
        return predicted

    def _summed(self, model: AdditiveCosts, architecture: Architecture) -> float:
        if not model.by_layer:
            tokens = architecture.canonical
            return round(model.network_cost(architecture.space, self.task, tokens), DECIMALS)
        shape, total = self.task.input_shape, model.constant
        for token in architecture.canonical:
            known = self._layer_costs.get((shape, token))
            if known is None:
                spec = architecture.space.spec(token)
                known = model.layer_cost(spec, shape, self.task.classes)
                self._layer_costs[shape, token] = known
            shape = known[0]
            total += known[1]
        return round(total, DECIMALS)


def _predict(surrogate: Surrogate, layers: Layers) -> tuple[Array, Array]:
    model = surrogate.model
    if isinstance(model, RecurrentEnsemble):
        mean, spread = model.predict(*layers)
    elif isinstance(model, Ensemble):
        mean, spread = model.predict(network_features(*layers))
    else:
        raise SurrogateFileError(f"{surrogate.name}: only a latency is a sum of costs")
    return mean.round(DECIMALS), spread.round(DECIMALS)


def _check_parts(parts: Sequence[Surrogate], task: Task) -> None:
    first = parts[0]
    if isinstance(first.model, AdditiveCosts) or first.field != "accuracy":
        raise SurrogateFileError(f"{first.name} is no surrogate of accuracy")
    for part in parts:
        same = (part.space_fingerprint, part.task) == (first.space_fingerprint, task.name)
        if not same or (part.input_shape, part.classes) != (task.input_shape, task.classes):
            raise SurrogateFileError(f"{part.name} was not fitted for the same space and task")


def _nothing_fitted(space: str, task: str, known: Sequence[str]) -> str:
    end = "_accuracy"
    pairs = [name.removesuffix(end).replace("_", " on ", 1) for name in known if name.endswith(end)]
    return (
        f"no surrogate was fitted for the space {space} on the task {task}; there are: "
        f"{', '.join(pairs)}. {_what_to_do(space, task)}"
    )


def _what_to_do(space: str, task: str) -> str:
    return (
        "train for real with evaluator='trained', or make a table and fit one: "
        f"`python -m predictors collect --space {space} --task {task}`, then "
        "`python -m predictors fit --what table`"
    )
