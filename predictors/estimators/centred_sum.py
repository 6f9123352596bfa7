"""Costs of operations, and a prediction that stands where most measurements are near it.

A device that is fast in some minutes and slow in others gives times with several modes. The mean
of two modes is near neither; what counts as a hit is a measurement within ±10 % of the prediction,
so the sum is moved to the window that catches most of the training rows of similar sums.
"""

from __future__ import annotations

from typing import Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import validate_data

from emnas_gym.models.base import Array, rounded
from emnas_gym.models.centred_sum import CentredSum
from predictors.estimators.base import Estimator
from predictors.splits import folds

ROUNDS = 15  # of reweighting, after which costs hardly move
FLOOR = 0.02  # residuals below this share of the value weigh no more
SHIFTS = np.arange(-0.12, 0.1201, 0.005)  # natural logarithms of the factors that are tried
EDGE = (0.085, 0.115)  # a miss by so much counts whole, in part, and not at all
SMOOTH = 7  # neighbouring shifts whose catches are averaged
KNOTS = 40
PENALTY = 0.05  # catches that a shift by 1 must bring: where all are caught, nothing is shifted


class CentredSumRegressor(Estimator):
    """Least absolute relative deviations by reweighted least squares, then centred.

    Args:
        neighbours: Training rows of similar sums that decide about a shift; 0 does not shift.
        seed: Decides the folds whose residuals show the shifts.
    """

    def __init__(self, neighbours: int = 250, seed: int = 0) -> None:
        self.neighbours = neighbours
        self.seed = seed

    def fit(self, x: Array, y: Array) -> Self:
        """Fits costs, and shifts on rows that the costs behind them have not seen.

        Args:
            x: Counts, shape (N, F).
            y: Measured values above 0, shape (N,).

        Raises:
            ValueError: If the input is no finite matrix, or a value is not above 0.
        """
        x, y = validate_data(self, x, y, dtype=np.float64, y_numeric=True, ensure_min_samples=10)
        if (y <= 0).any():
            raise ValueError("a measured value is not above 0")
        bare = _sum(x, y)
        if not self.neighbours:
            self.model_ = bare
            return self
        sums = np.empty(len(y))
        for train, held in folds(len(y), seed=self.seed):
            sums[held] = _sum(x[train], y[train]).predict(x[held])[0]
        knots = np.unique(rounded(np.quantile(np.log(sums), np.linspace(0, 1, KNOTS))))
        residuals, near = np.log(y / sums), min(self.neighbours, len(y))
        shifts = [_best_shift(residuals[_nearest(np.log(sums), knot, near)]) for knot in knots]
        self.model_ = CentredSum(
            bare.costs, bare.constant, bare.least, knots, rounded(np.array(shifts))
        )
        return self

    def _checked(self, x: Array) -> Array:
        checked: Array = validate_data(self, x, dtype=np.float64, reset=False)
        return checked


def _sum(x: Array, y: Array) -> CentredSum:
    """Costs with the least sum of absolute relative residuals, and no shift."""
    matrix = np.column_stack([x, np.ones(len(x))]) / y[:, None]
    weights = np.ones(len(y))
    for _ in range(ROUNDS):
        root = np.sqrt(weights)
        costs = np.linalg.lstsq(matrix * root[:, None], root, rcond=None)[0]
        weights = 1 / np.maximum(np.abs(matrix @ costs - 1), FLOOR)
    costs = rounded(costs)
    return CentredSum(costs[:-1], costs[-1], rounded(y.min()), np.zeros(1), np.zeros(1))


def _nearest(values: Array, value: float, count: int) -> NDArray[np.int64]:
    return np.argsort(np.abs(values - value), kind="stable")[:count]


def _best_shift(residuals: Array) -> float:
    """The shift whose window catches most residuals ln(measured / predicted)."""
    miss = np.abs(np.exp(SHIFTS[:, None] - residuals) - 1)
    caught = np.clip((EDGE[1] - miss) / (EDGE[1] - EDGE[0]), 0, 1).mean(axis=1)
    padded = np.pad(caught, SMOOTH // 2, mode="edge")
    smooth = np.convolve(padded, np.ones(SMOOTH) / SMOOTH, "valid")
    return float(SHIFTS[np.argmax(smooth - PENALTY * np.abs(SHIFTS))])
