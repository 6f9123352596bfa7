"""Figures of rows that no choice has seen, and how far they would move on other rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from predictors.fitted import Figures
from predictors.metrics import agreement, errors

Array = NDArray[np.float64]


def held_out(predicted: Array, measured: Array) -> Figures:
    """Errors, ranks and hits; τ and ρ are None where one side is constant.

    Args:
        predicted: (N,) predictions.
        measured: (N,) values above 0, in the same unit.
    """
    return {
        **agreement(predicted, measured),
        "mse": errors(predicted, measured)["rmse"] ** 2,
        "within_10pct": float((np.abs(predicted / measured - 1) <= 0.1).mean()),
    }


def interval(values: Sequence[float]) -> list[float]:
    """Low end, mean and high end of the 95 % interval of the mean (Student's t).

    Args:
        values: One figure a repeat; two or more.

    Raises:
        ValueError: If there are fewer.
    """
    if len(values) < 2:
        raise ValueError("an interval needs two repeats or more")
    mean, error = float(np.mean(values)), float(np.std(values, ddof=1)) / len(values) ** 0.5
    half = float(student.ppf(0.975, len(values) - 1)) * error
    return [mean - half, mean, mean + half]


def over_repeats(repeats: Sequence[tuple[Array, Array]], how: str) -> Figures:
    """Intervals of errors and τ over repeats.

    Args:
        repeats: Of each, predictions and measured values.
        how: What a repeat is.
    """
    found = [held_out(predicted, measured) for predicted, measured in repeats]
    figures: Figures = {
        name: interval([one[name] for one in found]) for name in ("mae", "mse", "tau")
    }
    return {**figures, "how": how}
