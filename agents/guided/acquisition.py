"""What a candidate is worth measuring, from its predicted mean and deviation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Array = NDArray[np.float64]
LEAST = 1e-12  # deviations below it count as none


def expected_improvement(mean: Array, deviation: Array, best: float) -> Array:
    """E max(f − best, 0) for f ~ N(mean, deviation²) (Jones et al. 1998, equation 15).

    With u = (mean − best) / deviation it is deviation · (u Φ(u) + φ(u)); without a deviation it is
    max(mean − best, 0).

    Args:
        mean: Shape (N,).
        deviation: Shape (N,), not negative.
        best: The value to beat.
    """
    ahead = np.asarray(mean, dtype=np.float64) - best
    spread = np.maximum(deviation, LEAST)
    u = ahead / spread
    density = np.exp(-0.5 * u * u) / np.sqrt(2 * np.pi)
    improvement = spread * (u * ndtr(u) + density)
    return np.where(np.asarray(deviation) > LEAST, improvement, np.maximum(ahead, 0.0))


def independent_thompson(mean: Array, deviation: Array, rng: np.random.Generator) -> Array:
    """One draw of N(mean, deviation²) for each candidate alone (White et al. 2021, section 4).

    The chance of being largest is what a candidate is chosen by; draws of two candidates are
    independent, which is cheaper than a draw of the whole function and was found as good.
    """
    return mean + np.asarray(deviation) * rng.standard_normal(len(mean))


def top(values: Array, count: int) -> NDArray[np.int64]:
    """Indices of the largest values, the largest first; of equals the first one is first."""
    order: NDArray[np.int64] = np.argsort(-np.asarray(values), kind="stable")[:count]
    return order
