"""How sure a mean over a few independent runs is."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.95


def interval(values: NDArray[np.float64]) -> list[float]:
    """Low end, mean and high end: 95 % of Student's t for the mean of independent runs.

    Args:
        values: One a run, shape (N,); of a single one all three are its value.
    """
    mean, count = float(values.mean()), len(values)
    if count < 2:
        return [mean, mean, mean]
    quantile = stats.t.ppf((1 + LEVEL) / 2, count - 1)
    half = float(quantile * values.std(ddof=1) / count**0.5)
    return [mean - half, mean, mean + half]
