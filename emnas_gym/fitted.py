"""Evaluators made of fitted predictors: files, and how they are asked about networks.

A predictor file is what `python -m predictors fit` writes, and what the package ships: a header
that says for which space, task, device and lengths it was fitted, and the model. It serves as an
evaluator by its path, ``gym.make("EmNAS-v0", evaluator="mine/latency.json")``, or as an object,
``evaluator=FittedEvaluator("mine/accuracy.json", "mine/latency.json")``. Outside what it was
fitted for it raises instead of guessing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from emnas_gym.architecture import Architecture
from emnas_gym.errors import DomainError, EvaluationError, ShapeError, SurrogateFileError
from emnas_gym.evaluator import Domain, Evaluator, Result
from emnas_gym.features import layer_table, network_features
from emnas_gym.graph import Shape
from emnas_gym.measurement import FIELDS, Measurement
from emnas_gym.models.additive import AdditiveCosts
from emnas_gym.models.inputs import encode
from emnas_gym.models.mixture import JOIN
from emnas_gym.problem import Problem
from emnas_gym.surrogate_file import Surrogate, read_surrogate
from emnas_gym.tasks import Task

DECIMALS = 9  # sums over a batch differ in the last bits with its size; rounded they do not
FEASIBLE = 0.5  # least probability of running at which a network counts as feasible
WHOLE = frozenset(FIELDS) - {"accuracy", "latency_ms", "energy_mj"}  # fields of whole numbers
Array = NDArray[np.float64]


class FittedEvaluator(Evaluator):
    """Predicts one field of a measurement by each of some fitted predictors.

    Args:
        parts: Predictors, or the paths of their ``.json`` files; for one space and task, on one
            device, each of another field.

    Raises:
        SurrogateFileError: If a file is damaged, or the parts do not belong together.
    """

    def __init__(self, *parts: Surrogate | str | Path) -> None:
        self.parts = tuple(
            part if isinstance(part, Surrogate) else read_surrogate(Path(part), any_name=True)
            for part in parts
        )
        _check_parts(self.parts)
        first = self.parts[0]
        self.task = Task(first.task, first.input_shape, first.classes)
        lengths = (max(p.lengths[0] for p in self.parts), min(p.lengths[1] for p in self.parts))
        device = next((part.device for part in self.parts if part.device), None)
        self.domain = Domain(first.space_fingerprint, first.task, device, lengths)
        self.provides = frozenset(part.field for part in self.parts) - {"feasible"}
        self._layer_costs: dict[tuple[str, Shape, int], tuple[Shape, float]] = {}

    def checked_for(self, problem: Problem) -> Self:
        """Itself, if it was fitted for a problem.

        Raises:
            DomainError: If it was not; says what differs and what to do.
        """
        first = self.parts[0]
        what = f"the predictor of {first.space} on {first.task}"
        difference = self.domain.difference(problem)
        asked = (problem.task.input_shape, problem.task.classes)
        if not difference and asked != (first.input_shape, first.classes):
            difference = (
                f"images {asked[0]} of {asked[1]} classes instead of {first.input_shape} and "
                f"{first.classes}"
            )
        if difference:
            advice = what_to_do(problem.space.name, problem.task.name)
            raise DomainError(f"{what} was asked for {difference}; {advice}")
        return self

    @property
    def rests_on(self) -> dict[str, Any]:
        """The fingerprint of every part's model by its name."""
        return {part.name: part.fingerprint for part in self.parts}

    def predict(
        self, batch: Sequence[Architecture], field: str | None = None
    ) -> tuple[Array, Array]:
        """Predictions of one field and how far they may be off.

        Args:
            batch: Architectures of the predictor's space.
            field: The field; that of the first part if None.

        Returns:
            Mean and standard deviation, each of shape (N,); the deviation is 0 where the model
            does not know its own doubt.

        Raises:
            DomainError: If one is of another space or length, or no part predicts the field.
            ShapeError: If one of them cannot be built.
        """
        self._check(batch)
        part = self.parts[0] if field is None else self._part(field)
        return _predict(part, _Networks(batch, self.task))

    def _part(self, field: str) -> Surrogate:
        for part in self.parts:
            if part.field == field:
                return part
        raise DomainError(f"nothing predicts {field!r}, only {', '.join(sorted(self.provides))}")

    def _check(self, batch: Sequence[Architecture]) -> None:
        assert self.domain.lengths is not None
        (low, high), first = self.domain.lengths, self.parts[0]
        for architecture in batch:
            if architecture.space.fingerprint != first.space_fingerprint:
                raise DomainError(
                    f"{architecture!r} is not of the space {first.space} "
                    f"({first.space_fingerprint}) on which the surrogate was fitted; "
                    f"{what_to_do(architecture.space.name, self.task.name)}"
                )
            if not low <= len(architecture.tokens) <= high:
                raise DomainError(
                    f"{len(architecture.tokens)} tokens instead of {low} to {high}, on which the "
                    f"surrogate was fitted; {what_to_do(first.space, self.task.name)}"
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
            networks = _Networks([batch[i] for i in walks], self.task, list(walks.values()))
            for i, measurement in zip(walks, self._measure(networks), strict=True):
                results[i] = measurement
        return results

    def _measure(self, networks: _Networks) -> list[Measurement]:
        columns = {part.field: self._column(part, networks) for part in self.parts}
        rows = zip(*columns.values(), strict=True)
        return [Measurement.of("predicted", **dict(zip(columns, row, strict=True))) for row in rows]

    def _column(self, part: Surrogate, networks: _Networks) -> Iterable[float | bool]:
        if isinstance(part.model, AdditiveCosts):
            return [self._summed(part, part.model, a) for a in networks.batch]
        mean = _predict(part, networks)[0]
        if part.field == "feasible":
            said: list[bool] = (mean >= FEASIBLE).tolist()
            return said
        predicted: list[float] = mean.tolist()
        if part.field in WHOLE:
            return [round(value) if math.isfinite(value) else value for value in predicted]
        return predicted

    def _summed(self, part: Surrogate, model: AdditiveCosts, architecture: Architecture) -> float:
        if not model.by_layer:
            tokens = architecture.canonical
            return round(model.network_cost(architecture.space, self.task, tokens), DECIMALS)
        shape, total = self.task.input_shape, model.constant
        for token in architecture.canonical:
            key = (part.field, shape, token)
            known = self._layer_costs.get(key)
            if known is None:
                spec = architecture.space.spec(token)
                known = model.layer_cost(spec, shape, self.task.classes)
                self._layer_costs[key] = known
            shape = known[0]
            total += known[1]
        return round(total, DECIMALS)


class _Networks:
    """A batch that builds, encoded at most once in each encoding."""

    def __init__(
        self,
        batch: Sequence[Architecture],
        task: Task,
        walks: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self.batch, self.task = batch, task
        table = layer_table(batch[0].space, task)
        walks = [table.walk(a.canonical) for a in batch] if walks is None else walks
        layers, self._lengths = table.gather(walks)
        self._encoded: dict[str, Any] = {"layers": layers}

    def encoded(self, name: str) -> Any:  # noqa: ANN401
        if name not in self._encoded:
            if JOIN in name:
                found: Any = {part: self.encoded(part) for part in name.split(JOIN)}
            elif name == "features":
                found = network_features(self._encoded["layers"], self._lengths)
            else:
                found = encode(name, self.batch, self.task)
            self._encoded[name] = found
        return self._encoded[name]


def _predict(part: Surrogate, networks: _Networks) -> tuple[Array, Array]:
    encoded = networks.encoded(part.encoding)
    expected = part.model.columns
    if isinstance(encoded, np.ndarray) and expected not in (None, encoded.shape[-1]):
        raise SurrogateFileError(
            f"{part.name} reads {expected} columns, and {part.encoding} has {encoded.shape[-1]}"
        )
    mean, spread = part.model.predict(encoded)
    return mean.round(DECIMALS), spread.round(DECIMALS)


def _check_parts(parts: Sequence[Surrogate]) -> None:
    if not parts:
        raise SurrogateFileError("an evaluator needs at least one fitted predictor")
    first = parts[0]
    for part in parts:
        if _made_for(part) != _made_for(first):
            raise SurrogateFileError(f"{part.name} was not fitted for the same space and task")
    devices = {part.device for part in parts if part.device}
    fields = [part.field for part in parts]
    if len(devices) > 1 or len(set(fields)) < len(fields):
        names = ", ".join(part.name for part in parts)
        raise SurrogateFileError(f"{names}: one device, and one predictor of each field")


def _made_for(part: Surrogate) -> tuple[Any, ...]:
    return part.space_fingerprint, part.task, part.input_shape, part.classes


def what_to_do(space: str, task: str) -> str:
    """What helps where nothing was fitted."""
    return (
        "train for real with evaluator='trained', or make a table and fit one: "
        f"`python -m predictors collect --space {space} --task {task}`, then "
        "`python -m predictors fit --what table`"
    )
