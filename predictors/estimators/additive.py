"""Fits non-negative costs of layers whose sum is a network's latency."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from scipy.optimize import nnls

from emnas_gym.models.additive import AdditiveCosts
from emnas_gym.models.base import Array
from emnas_gym.models.kpu_terms import Terms
from predictors.estimators.base import Estimator, on_link

ROUNDS = 5  # of reweighting, after which costs hardly move
FLOOR = 0.02  # residuals below this share of the value weigh no more


class AdditiveRegressor(Estimator):
    """Non-negative least absolute deviations, by reweighted non-negative least squares.

    Args:
        details: Details that the terms tell apart (`emnas_gym.models.layer_terms.DETAILS`).
        relative: Whether errors are relative to the value; absolute otherwise.
    """

    ordered = False
    model_: AdditiveCosts

    def __init__(self, details: tuple[str, ...] = (), relative: bool = False) -> None:
        self.details = details
        self.relative = relative

    def fit(self, x: Sequence[Terms], y: Array) -> Self:
        """Fits the costs.

        Args:
            x: Terms of each network (`emnas_gym.models.additive.network_terms`).
            y: Measured values, shape (N,), above 0.

        Raises:
            ValueError: If there are not as many of both, or a value cannot be used.
        """
        x, y = self._checked(x), np.asarray(y, dtype=np.float64)
        on_link("log", y)  # refuses what is not above 0
        if len(x) != len(y) or not len(x):
            raise ValueError(f"{len(x)} networks and {len(y)} targets")
        names = sorted({name for terms in x for name in terms})
        matrix = term_matrix(x, names)
        scale = np.maximum(
            matrix.std(axis=0), 1e-9 + (matrix.std(axis=0) == 0) * matrix.max(axis=0)
        )
        costs = self._solve(matrix / scale, y) / scale
        kept = {n: float(f"{c:.6g}") for n, c in zip(names, costs.tolist(), strict=True) if c > 0}
        self.model_ = AdditiveCosts(kept, self.details)
        return self

    def _solve(self, matrix: Array, y: Array) -> Array:
        unit = y if self.relative else np.ones_like(y)
        weights = 1 / (unit if self.relative else np.sqrt(y + 10.0))
        costs = _nnls(matrix, y, weights)
        for _ in range(ROUNDS):
            residual = np.abs(matrix @ costs - y) / unit
            weights = 1 / (unit * np.sqrt(np.maximum(residual, FLOOR * (y / unit))))
            costs = _nnls(matrix, y, weights)
        return costs

    def _checked(self, x: Any) -> list[Terms]:  # noqa: ANN401
        """Terms, after a look at their amounts.

        Raises:
            ValueError: If an amount is not finite.
        """
        for row, terms in enumerate(x):
            for name, amount in terms.items():
                if not math.isfinite(amount):
                    raise ValueError(f"network {row}: {name!r} is {amount}")
        return list(x)


def term_matrix(x: Sequence[Terms], names: Sequence[str]) -> Array:
    """Amounts of the named terms, shape (N, names)."""
    return np.array([[terms.get(name, 0.0) for name in names] for terms in x], dtype=np.float64)


def _nnls(matrix: Array, y: Array, weights: Array) -> Array:
    solution: Any = nnls(matrix * weights[:, None], y * weights, maxiter=100 * matrix.shape[1])
    costs: Array = solution[0]
    return costs
