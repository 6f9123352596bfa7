"""What a search of several objectives compares: fields of a measurement, and broken limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from agents.base import OptionError
from agents.evolutionary.dominance import Points, fronts
from emnas_gym.errors import UnknownName
from emnas_gym.evaluator import Result
from emnas_gym.history import Row
from emnas_gym.ledger import Ledger
from emnas_gym.measurement import FIELDS, Measurement
from emnas_gym.problem import Problem

LARGER_IS_BETTER = frozenset({"accuracy"})


@dataclass(frozen=True)
class Objectives:
    """Fields of a measurement, each with its direction.

    Attributes:
        problem: What is searched; its budgets are the constraints.
        fields: The fields.
        signs: +1 where a larger field is better, −1 where a smaller one is.
    """

    problem: Problem
    fields: tuple[str, ...]
    signs: tuple[float, ...]

    @classmethod
    def of(cls, problem: Problem, ledger: Ledger, names: str = "") -> Objectives:
        """The objectives of these names; those of the reward if there are none.

        Args:
            problem: What is searched.
            ledger: What measures.
            names: Fields apart by commas, e.g. ``"accuracy,latency_ms,ram_bytes"``.

        Raises:
            UnknownName: If there is no such field.
            OptionError: If the evaluator does not provide one, or one stands there twice.
        """
        if not names:
            return cls(problem, problem.reward.objectives, problem.reward.signs)
        fields = tuple(name.strip() for name in names.split(","))
        for field in fields:
            if field not in FIELDS:
                raise UnknownName("objective", field, FIELDS)
            if ledger.provides and field not in ledger.provides:
                known = ", ".join(sorted(ledger.provides))
                raise OptionError(f"objective {field} is not measured; there are {known}")
        if len(set(fields)) < len(fields):
            raise OptionError(f"objectives stand there once each, not {names}")
        return cls(problem, fields, tuple(1.0 if f in LARGER_IS_BETTER else -1.0 for f in fields))

    def points(self, results: Sequence[Result]) -> tuple[Points, Points]:
        """Objectives, larger is better, shape (N, objectives), and violations, shape (N,)."""
        pairs = [self._of(result) for result in results]
        points = np.array([point for point, _ in pairs]).reshape(len(pairs), len(self.fields))
        return points, np.array([violation for _, violation in pairs])

    def _of(self, result: Result) -> tuple[list[float], float]:
        """One network; the violation of one that failed, or lacks a field, is infinite."""
        if not isinstance(result, Measurement):
            return [0.0] * len(self.fields), np.inf
        values = [getattr(result, field) for field in self.fields]
        if any(value is None or not np.isfinite(value) for value in values):
            return [0.0] * len(self.fields), np.inf
        point = [s * float(v) for s, v in zip(self.signs, values, strict=True)]
        return point, violation(self.problem, result)

    def front(self, rows: Sequence[Row]) -> list[Row]:
        """The distinct feasible networks that no other evaluation dominates, as they came."""
        first = list({row.canonical: row for row in reversed(rows)}.values())[::-1]
        points, violations = self.points([row.result for row in first])
        kept = np.flatnonzero(violations == 0)
        best = kept[fronts(points[kept])[0]] if len(kept) else kept
        return [first[int(i)] for i in best]


def violation(problem: Problem, measurement: Measurement) -> float:
    """By which share the budgets are exceeded, summed over them; 1 more if a compiler refused."""
    broken = problem.budgets.broken(measurement).values()
    excess = sum(value / limit - 1.0 for value, limit in broken)
    return float(excess) + (1.0 if measurement.feasible is False else 0.0)
