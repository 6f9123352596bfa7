"""Figures of predictions about cells over several draws of the training cells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from predictors.fitted import Figures
from predictors.metrics import errors, ranks

Array = NDArray[np.float64]
HOW = "95 % interval of the mean over {} draws of training cells (Student's t)"
NAMES = ("mae", "mse", "tau", "spearman", "within_10pct")


def figures(predicted: Array, measured: Array) -> dict[str, float]:
    """MAE, MSE, τ, Spearman and the share within ±10 % of what was measured.

    A rank of constant predictions counts as 0: they order nothing.
    """
    error = errors(predicted, measured)
    order = ranks(predicted, measured)
    return {
        "mae": error["mae"],
        "mse": error["rmse"] ** 2,
        "tau": order["tau"] or 0.0,
        "spearman": order["spearman"] or 0.0,
        "within_10pct": float((np.abs(predicted - measured) <= 0.1 * measured).mean()),
    }


def mean_of(draws: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Mean of every figure over the draws."""
    return {name: float(np.mean([draw[name] for draw in draws])) for name in NAMES}


def intervals(draws: Sequence[Mapping[str, float]]) -> Figures:
    """Low end, mean and high end of each figure, and how they were made."""
    result: Figures = {name: interval([draw[name] for draw in draws]) for name in NAMES}
    return {**result, "how": HOW.format(len(draws))}


def interval(values: Sequence[float]) -> list[float]:
    """95 % interval of a mean with the mean between its ends; needs two values or more."""
    mean, count = float(np.mean(values)), len(values)
    half = float(student.ppf(0.975, count - 1) * np.std(values, ddof=1) / count**0.5)
    return [mean - half, mean, mean + half]
