"""Evaluators made of fitted predictors: files, and how they are asked about networks.

A predictor file is what `python -m predictors fit` writes, and what the package ships: a header
that says for which space, task, device and lengths it was fitted, and the model. It serves as an
evaluator by its path, ``gym.make("EmNAS-v0", evaluator="mine/latency.json")``, or as an object,
``evaluator=FittedEvaluator("mine/accuracy.json", "mine/latency.json")``. Outside what it was
fitted for it raises instead of guessing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from emnas_gym import costs
from emnas_gym.architecture import Architecture
from emnas_gym.automaton import Automaton
from emnas_gym.columns import Columns
from emnas_gym.cost_vectors import MACS, UNLIMITED
from emnas_gym.errors import DomainError, EvaluationError, ShapeError, SurrogateFileError
from emnas_gym.evaluator import Domain, Evaluator, Result
from emnas_gym.features import LayerTable, layer_table, network_features
from emnas_gym.graph import Shape
from emnas_gym.measurement import WHOLE, Measurement
from emnas_gym.models.additive import AdditiveCosts
from emnas_gym.models.gated_sums import Gates, Rows
from emnas_gym.models.inputs import encode
from emnas_gym.models.mixture import JOIN
from emnas_gym.models.pooled import GateTable, PooledNetwork
from emnas_gym.problem import Problem
from emnas_gym.surrogate_file import Surrogate, read_surrogate
from emnas_gym.tasks import Task
from emnas_gym.walk_rows import walk_rows
from emnas_gym.walks import Walks

DECIMALS = 9  # sums over a batch differ in the last bits with its size; rounded they do not
FEASIBLE = 0.5  # least probability of running at which a network counts as feasible
LOOKED_UP = frozenset({"layers", "features"})  # encodings that tables of layers give
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
        macs = min((p.max_macs for p in self.parts if p.max_macs is not None), default=None)
        self.domain = Domain(first.space_fingerprint, first.task, device, lengths, macs)
        self.provides = frozenset(part.field for part in self.parts) - {"feasible"}
        self._layer_costs: dict[tuple[str, Shape, int], tuple[Shape, float]] = {}
        self._tables_of: Automaton | None = None
        self._gates = {
            part.field: GateTable(part.model)
            for part in self.parts
            if isinstance(part.model, PooledNetwork)
        }

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
        table = layer_table(batch[0].space, self.task)
        walks = [table.walk(a.canonical) for a in batch]
        self._check_macs(batch)
        mean, spread = self._predict(part, _Networks.of(batch, table, walks))
        return mean.round(DECIMALS), spread.round(DECIMALS)

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

    def _check_macs(self, built: Sequence[Architecture]) -> None:
        """Refuses networks that are larger than those of the fit."""
        most = self.domain.macs
        if most is None:
            return
        for architecture in built:
            macs = costs.macs(architecture.graph(self.task))
            if macs > most:
                raise DomainError(
                    f"{architecture!r} has {macs} MACs; the surrogate was fitted on networks of up "
                    f"to {most}. Budgets keep to them: budgets={{'macs': {most}}}"
                )

    def columns(self, walks: Walks) -> Columns:
        """Measures finished walks; by look-ups alone where all parts read nothing but layers."""
        if walks.automaton is not self._tables_of and not self._looked_up(walks):
            return super().columns(walks)
        found = walk_rows(walks.automaton)
        networks = _Networks((), found.table, found.of(walks))
        values = {part.field: self._column(part, networks) for part in self.parts}
        feasible = values.pop("feasible", None)
        columns = Columns(
            values,
            dict.fromkeys(values, "predicted"),
            None if feasible is None else feasible.astype(np.bool_),
        )
        return columns.checked(type(self).__name__)

    def _looked_up(self, walks: Walks) -> bool:
        """Whether tables answer: else the slow way answers, or says what is wrong.

        Remembers an automaton all of whose walks tables answer.
        """
        assert self.domain.lengths is not None
        (low, high), automaton = self.domain.lengths, walks.automaton
        known = (
            all(set(part.encoding.split(JOIN)) <= LOOKED_UP for part in self.parts)
            and walks.space.fingerprint == self.parts[0].space_fingerprint
            and walks.task == self.task
            and len(walks) > 0
        )
        most = UNLIMITED if self.domain.macs is None else self.domain.macs
        of_length = low <= automaton.min_layers and automaton.max_layers <= high
        if known and of_length and automaton.limits.macs <= most:
            self._tables_of = automaton
            return True
        inside = (walks.lengths >= low) & (walks.lengths <= high) & (walks.spent[:, MACS] <= most)
        return known and bool(inside.all())

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
            built = batch if len(walks) == len(batch) else [batch[i] for i in walks]
            self._check_macs(built)
            networks = _Networks.of(built, table, list(walks.values()))
            for i, measurement in zip(walks, self._measure(networks), strict=True):
                results[i] = measurement
        return results

    def _measure(self, networks: _Networks) -> list[Measurement]:
        columns = {
            part.field: _plain(part.field, self._column(part, networks)) for part in self.parts
        }
        rows = zip(*columns.values(), strict=True)
        return [Measurement.of("predicted", **dict(zip(columns, row, strict=True))) for row in rows]

    def _column(self, part: Surrogate, networks: _Networks) -> Array:
        """One field of all networks, shape (N,); 0 and 1 for what is feasible."""
        if isinstance(part.model, AdditiveCosts):
            return np.array([self._summed(part, part.model, a) for a in networks.batch])
        mean = self._mean(part, networks).round(DECIMALS)
        if part.field == "feasible":
            return (mean >= FEASIBLE).astype(np.float64)
        return np.rint(mean) if part.field in WHOLE else mean

    def _mean(self, part: Surrogate, networks: _Networks) -> Array:
        if part.field in self._gates and isinstance(part.model, PooledNetwork):
            return part.model.means(*self._pooled(part, networks))
        return self._predict(part, networks)[0]

    def _predict(self, part: Surrogate, networks: _Networks) -> tuple[Array, Array]:
        if part.field in self._gates and isinstance(part.model, PooledNetwork):
            return part.model.both(*self._pooled(part, networks))
        encoded = networks.encoded(part.encoding)
        _check_columns(part, encoded)
        return part.model.predict(encoded)

    def _pooled(self, part: Surrogate, networks: _Networks) -> tuple[Gates, Rows]:
        """Gates of all layers met so far, and the rows of the networks without common ends."""
        gates = self._gates[part.field]
        if gates.table is not networks.table:
            _check_columns(part, networks.table.described())
        return gates.of(networks.table), networks.rows

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
    """Networks that build, encoded at most once in each encoding.

    Args:
        batch: The networks; may be empty where nothing but layers is read.
        table: Layers of their space and task.
        rows: Their layers in the table, shape (N, L), 0 after the end.
    """

    def __init__(self, batch: Sequence[Architecture], table: LayerTable, rows: Rows) -> None:
        self.batch, self.table, self.rows = batch, table, rows
        self._encoded: dict[str, Any] = {}

    @classmethod
    def of(
        cls, batch: Sequence[Architecture], table: LayerTable, walks: Sequence[Sequence[int]]
    ) -> Self:
        """Networks that were walked through the table one by one."""
        return cls(batch, table, table.rows(walks))

    def encoded(self, name: str) -> Any:  # noqa: ANN401
        if name not in self._encoded:
            if JOIN in name:
                found: Any = {part: self.encoded(part) for part in name.split(JOIN)}
            elif name == "layers":
                found = self.table.described()[self.rows]
            elif name == "features":
                found = network_features(self.encoded("layers"), (self.rows > 0).sum(axis=1))
            else:
                found = encode(name, self.batch, self.table.task)
            self._encoded[name] = found
        return self._encoded[name]


def _plain(field: str, column: Array) -> list[Any]:
    """A column as Python's own numbers: yes or no, whole ones, or floats."""
    values: list[float] = column.tolist()
    if field == "feasible":
        return [bool(value) for value in values]
    if field in WHOLE:
        return [int(value) if math.isfinite(value) else value for value in values]
    return values


def _check_columns(part: Surrogate, encoded: Any) -> None:  # noqa: ANN401
    expected = part.model.columns
    if isinstance(encoded, np.ndarray) and expected not in (None, encoded.shape[-1]):
        raise SurrogateFileError(
            f"{part.name} reads {expected} columns, and {part.encoding} has {encoded.shape[-1]}"
        )


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
    where = f"--space {space} --task {task}"
    return (
        "train for real with evaluator='trained', or make a table, fit a predictor to it and give "
        f"its path as evaluator: `python -m predictors collect {where} --out table.sqlite`, then "
        f"`python -m predictors fit --table table.sqlite {where} --out fitted.json`"
    )
