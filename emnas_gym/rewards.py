"""From a measurement to named terms and one number, with a declared range.

Every reward declares the value of an illegal network, strictly below that of any legal one: a
constant inside the range pays an agent for nonsense.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from emnas_gym.budgets import Budgets
from emnas_gym.columns import Column, Columns
from emnas_gym.errors import EmNASError, EvaluationError, UnknownName
from emnas_gym.measurement import Measurement

BELOW = 0.05  # an illegal network lies this share of the range below it
LEAST_MS, LARGEST = 1e-6, 1e9  # constants outside are slips, and make ranges that are no numbers


@dataclass(frozen=True)
class Scale:
    """Latencies of a task on a device by which rewards are scaled.

    Attributes:
        target_ms: What counts as usual: the median over the shipped table.
        cap_ms: What counts as the worst: beyond it a network is not punished further.
        floor_ms: What no network undercuts: the constant part of the device's latency.
    """

    target_ms: float
    cap_ms: float
    floor_ms: float


@dataclass(frozen=True)
class RewardColumns:
    """Rewards of N networks.

    Attributes:
        rewards: (N,); that of illegal networks where one could not be measured.
        terms: Name → (N,), NaN where a network has no such term.
        vector: (N, objectives) float32, larger is better; NaN where it could not be measured.
    """

    rewards: Column
    terms: dict[str, Column]
    vector: NDArray[np.float32]


class Reward(ABC):
    """A reward; a subclass names its terms and how they become one number.

    One that can weigh a batch by array operations overrides `_batch` too, with the same bits: of
    floating-point operations only those that IEEE 754 rounds in one way, powers one by one.

    Attributes:
        name: Registered name.
        objectives: Measured fields of the reward vector; larger is better after `signs`.
        signs: +1 where a larger field is better, −1 where a smaller one is.
    """

    name: ClassVar[str]
    objectives: tuple[str, ...] = ("accuracy", "latency_ms")
    signs: tuple[float, ...] = (1.0, -1.0)

    def __init_subclass__(cls, **keywords: Any) -> None:  # noqa: ANN401
        """Lets batches go through what a class weighs anew, unless it weighs them itself."""
        super().__init_subclass__(**keywords)
        if vars(cls).keys() & {"__call__", "_terms", "_weigh"} and "_batch" not in vars(cls):
            cls._batch = Reward._batch  # type: ignore[method-assign]

    @property
    @abstractmethod
    def range(self) -> tuple[float, float]:
        """Least and largest value of a legal network."""

    @property
    def illegal(self) -> float:
        """Value of an illegal network."""
        low, high = self.range
        return low - BELOW * (high - low)

    def __call__(self, measurement: Measurement) -> tuple[float, dict[str, float]]:
        """Returns the scalar and its named terms.

        Raises:
            EvaluationError: If a field that the reward needs was not measured, or is no number.
        """
        for field in self.objectives:
            self._check_needed(field, getattr(measurement, field))
        terms = self._terms(measurement)
        low, high = self.range
        return min(max(self._weigh(terms), low), high), terms

    def _check_needed(self, field: str, value: float | None) -> None:
        if value is None:
            raise self._unmeasured(field)
        if not math.isfinite(value):
            raise EvaluationError(f"reward {self.name} needs a number as {field}, not {value}")

    def _unmeasured(self, field: str) -> EvaluationError:
        return EvaluationError(f"reward {self.name} needs {field}, which nothing measured")

    def batch(self, columns: Columns) -> RewardColumns:
        """Rewards of many networks, bit for bit those of one at a time.

        Raises:
            EvaluationError: If a field that the reward needs is not known of a network that was
                measured.
        """
        if not columns.errors:
            return self._batch_measured(columns)
        rows = columns.measured()
        found = self._batch_measured(columns.take(rows))
        rewards = np.full(len(columns), self.illegal)
        rewards[rows] = found.rewards
        terms = {name: np.full(len(columns), np.nan) for name in found.terms}
        for name, column in found.terms.items():
            terms[name][rows] = column
        vector = np.full((len(columns), len(self.objectives)), np.nan, dtype=np.float32)
        vector[rows] = found.vector
        return RewardColumns(rewards, terms, vector)

    def _batch_measured(self, columns: Columns) -> RewardColumns:
        count, objectives = len(columns), len(self.objectives)
        if not count:
            return RewardColumns(np.zeros(0), {}, np.empty((0, objectives), dtype=np.float32))
        values = [columns.values.get(field) for field in self.objectives]
        known = np.array([column for column in values if column is not None])
        if np.count_nonzero(np.isfinite(known)) < objectives * count:
            self._check_all(values)
        rewards, terms = self._batch(columns)
        vector = (known.T * np.array(self.signs)).astype(np.float32)
        return RewardColumns(rewards, terms, vector)

    def _check_all(self, columns: Sequence[Column | None]) -> None:
        """Names the first objective that was not measured, or is no number, of some network."""
        for field, values in zip(self.objectives, columns, strict=True):
            wrong = [] if values is None else values[~np.isfinite(values)].tolist()
            if values is None or wrong:
                self._check_needed(field, next((v for v in wrong if not math.isnan(v)), None))

    def _batch(self, columns: Columns) -> tuple[Column, dict[str, Column]]:
        """Rewards within the range and their terms, of networks that were all measured."""
        pairs = [self(result) for result in columns.results() if isinstance(result, Measurement)]
        rewards = np.array([reward for reward, _ in pairs], dtype=np.float64)
        names = {name: None for _, terms in pairs for name in terms}
        found = {n: np.array([terms.get(n, np.nan) for _, terms in pairs]) for n in names}
        return rewards, found

    def _clipped(self, weighed: Column) -> Column:
        low, high = self.range
        clipped: Column = np.minimum(np.maximum(weighed, low), high)
        return clipped

    def vector(self, measurement: Measurement) -> NDArray[np.float32]:
        """The objectives as larger-is-better values, shape (objectives,)."""
        values = [getattr(measurement, field) for field in self.objectives]
        pairs = zip(self.signs, values, strict=True)
        return np.array([sign * value for sign, value in pairs], dtype=np.float32)

    @abstractmethod
    def _terms(self, measurement: Measurement) -> dict[str, float]:
        """The named terms of a complete measurement."""

    @abstractmethod
    def _weigh(self, terms: dict[str, float]) -> float:
        """One number from the terms."""

    def to_json(self) -> dict[str, Any]:
        """Name and constants."""
        return {"name": self.name, **vars(self)}

    def __eq__(self, other: object) -> bool:
        """Two rewards are equal if their formulas and constants are."""
        return type(other) is type(self) and other.to_json() == self.to_json()

    def __hash__(self) -> int:
        """Hash of the constants."""
        return hash((type(self), repr(self.to_json())))


def _check(name: str, value: float, low: float = LEAST_MS, high: float = LARGEST) -> None:
    """Refuses a constant that is not a number of its range."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not low <= value <= high:
        raise EmNASError(f"reward: {name} is a number from {low:g} to {high:g}, not {value!r}")


def _values(measurement: Measurement) -> tuple[float, float]:
    assert measurement.accuracy is not None
    assert measurement.latency_ms is not None
    return measurement.accuracy, measurement.latency_ms


class WeightedProduct(Reward):
    """accuracy · (latency / target)^w (MnasNet, Tan et al. 2019, equation 2).

    Args:
        target_ms: T of the equation.
        floor_ms: Latency that no network undercuts; it bounds the range.
        exponent: w; −0.07 in the paper: twice the latency for 5 % more accuracy.
    """

    name = "weighted_product"

    def __init__(self, target_ms: float, floor_ms: float, exponent: float = -0.07) -> None:
        _check("target_ms", target_ms)
        _check("floor_ms", floor_ms)
        _check("exponent", exponent, -10.0, 0.0)
        self.target_ms, self.floor_ms, self.exponent = target_ms, floor_ms, exponent

    @property
    def range(self) -> tuple[float, float]:
        """From no accuracy to all of it at the least latency."""
        return 0.0, (self.floor_ms / self.target_ms) ** self.exponent

    def _terms(self, measurement: Measurement) -> dict[str, float]:
        accuracy, latency = _values(measurement)
        factor = (max(latency, self.floor_ms) / self.target_ms) ** self.exponent
        return {"accuracy": accuracy, "latency_factor": factor}

    def _weigh(self, terms: dict[str, float]) -> float:
        return terms["accuracy"] * terms["latency_factor"]

    def _batch(self, columns: Columns) -> tuple[Column, dict[str, Column]]:
        accuracy, latency = columns.values["accuracy"], columns.values["latency_ms"]
        exponent, ratio = self.exponent, np.maximum(latency, self.floor_ms) / self.target_ms
        factor = np.array([value**exponent for value in ratio.tolist()])  # as one network has it
        terms = {"accuracy": accuracy, "latency_factor": factor}
        return self._clipped(accuracy * factor), terms


class Linear(Reward):
    """(w · accuracy + speed) / (w + 1) (EMNAS, linear objective).

    Accuracy is clipped to 0.4 … 1; speed falls from 1 at no latency to 0.4 at the cap. With
    w = 0.5 accuracy has a third of the weight and latency two thirds.

    Args:
        cap_ms: Latency of speed 0.4; 1,000 ms on the original's own task.
        weight: w.
    """

    name = "linear"

    def __init__(self, cap_ms: float, weight: float = 0.5) -> None:
        _check("cap_ms", cap_ms)
        _check("weight", weight, 0.0)
        self.cap_ms, self.weight = cap_ms, weight

    @property
    def range(self) -> tuple[float, float]:
        """0.4 … 1."""
        return 0.4, 1.0

    def _terms(self, measurement: Measurement) -> dict[str, float]:
        accuracy, latency = _values(measurement)
        speed = 1.0 - 0.6 * min(max(latency, 0.0), self.cap_ms) / self.cap_ms
        return {"accuracy": min(max(accuracy, 0.4), 1.0), "speed": speed}

    def _weigh(self, terms: dict[str, float]) -> float:
        return (self.weight * terms["accuracy"] + terms["speed"]) / (self.weight + 1.0)

    def _batch(self, columns: Columns) -> tuple[Column, dict[str, Column]]:
        latency = np.minimum(np.maximum(columns.values["latency_ms"], 0.0), self.cap_ms)
        speed = 1.0 - 0.6 * latency / self.cap_ms
        accuracy = np.minimum(np.maximum(columns.values["accuracy"], 0.4), 1.0)
        weighed = (self.weight * accuracy + speed) / (self.weight + 1.0)
        return self._clipped(weighed), {"accuracy": accuracy, "speed": speed}


class Exponential(Reward):
    """accuracy, times threshold / latency above the threshold (EMNAS, exponential objective).

    Args:
        threshold_ms: Latency up to which only accuracy counts; 70 ms in the original.
        cap_ms: Latency beyond which nothing falls further.
    """

    name = "exponential"

    def __init__(self, threshold_ms: float, cap_ms: float) -> None:
        _check("threshold_ms", threshold_ms)
        _check("cap_ms", cap_ms)
        self.threshold_ms, self.cap_ms = threshold_ms, cap_ms

    @property
    def range(self) -> tuple[float, float]:
        """From accuracy 0.4 at the cap to 1."""
        return 0.4 * min(self.threshold_ms / self.cap_ms, 1.0), 1.0

    def _terms(self, measurement: Measurement) -> dict[str, float]:
        accuracy, latency = _values(measurement)
        factor = min(self.threshold_ms / max(min(latency, self.cap_ms), 1e-9), 1.0)
        return {"accuracy": min(max(accuracy, 0.4), 1.0), "latency_factor": factor}

    def _weigh(self, terms: dict[str, float]) -> float:
        return terms["accuracy"] * terms["latency_factor"]

    def _batch(self, columns: Columns) -> tuple[Column, dict[str, Column]]:
        latency = np.maximum(np.minimum(columns.values["latency_ms"], self.cap_ms), 1e-9)
        factor = np.minimum(self.threshold_ms / latency, 1.0)
        accuracy = np.minimum(np.maximum(columns.values["accuracy"], 0.4), 1.0)
        terms = {"accuracy": accuracy, "latency_factor": factor}
        return self._clipped(accuracy * factor), terms


class Constrained(Reward):
    """accuracy within all budgets, else minus the share by which they are exceeded.

    Args:
        budgets: The limits, all of them hard.
    """

    name = "constrained"

    def __init__(self, budgets: Budgets) -> None:
        self.budgets = budgets
        self.objectives = ("accuracy",)
        self.signs = (1.0,)

    @property
    def range(self) -> tuple[float, float]:
        """−1 … 1; what fits lies above 0, what does not below."""
        return -1.0, 1.0

    def _terms(self, measurement: Measurement) -> dict[str, float]:
        assert measurement.accuracy is not None
        for field, _ in self.budgets.limits:
            if getattr(measurement, field) is None:
                raise self._unmeasured(field)
        broken = self.budgets.broken(measurement).values()
        excess = sum(value / limit - 1.0 for value, limit in broken)
        refused = 1.0 if measurement.feasible is False else 0.0
        return {"accuracy": measurement.accuracy, "excess": excess + refused}

    def _weigh(self, terms: dict[str, float]) -> float:
        excess = terms["excess"]
        return terms["accuracy"] if not excess else -excess / (1.0 + excess)

    def _batch(self, columns: Columns) -> tuple[Column, dict[str, Column]]:
        accuracy, excess = columns.values["accuracy"], np.zeros(len(columns))
        for field, limit in self.budgets.limits:
            values = columns.values.get(field)
            if values is None or np.isnan(values).any():
                raise self._unmeasured(field)
            excess += np.where(values > limit, values / limit - 1.0, 0.0)
        if columns.feasible is not None:
            excess += np.where(columns.feasible, 0.0, 1.0)
        weighed = np.where(excess == 0.0, accuracy, -excess / (1.0 + excess))
        return self._clipped(weighed), {"accuracy": accuracy, "excess": excess}

    def to_json(self) -> dict[str, Any]:
        """Name and limits."""
        return {"name": self.name, "budgets": self.budgets.to_json()}


Maker = Callable[..., Reward]


def _weighted_product(scale: Scale, budgets: Budgets, **options: float) -> Reward:
    return WeightedProduct(**{"target_ms": scale.target_ms, "floor_ms": scale.floor_ms} | options)


def _linear(scale: Scale, budgets: Budgets, **options: float) -> Reward:
    return Linear(**{"cap_ms": scale.cap_ms} | options)


def _exponential(scale: Scale, budgets: Budgets, **options: float) -> Reward:
    return Exponential(**{"threshold_ms": scale.target_ms, "cap_ms": scale.cap_ms} | options)


def _constrained(scale: Scale, budgets: Budgets, **options: float) -> Reward:
    return Constrained(budgets)


REWARDS: dict[str, Maker] = {
    "weighted_product": _weighted_product,
    "linear": _linear,
    "exponential": _exponential,
    "constrained": _constrained,
}
_CLASSES: dict[str, type[Reward]] = {
    cls.name: cls for cls in (WeightedProduct, Linear, Exponential, Constrained)
}


def make_reward(name: str, scale: Scale, budgets: Budgets, /, **options: float) -> Reward:
    """Makes a reward by name, its constants those of the task and device unless given.

    Raises:
        UnknownName: If no reward, or no option of it, has this name.
        EmNASError: If an option is not a number that makes sense.
    """
    if name not in REWARDS:
        raise UnknownName("reward", name, REWARDS)
    known = [key for key in inspect.signature(_CLASSES[name]).parameters if key != "budgets"]
    for option in options:
        if option not in known:
            raise UnknownName(f"option of reward {name}", option, known)
    return REWARDS[name](scale, budgets, **options)
