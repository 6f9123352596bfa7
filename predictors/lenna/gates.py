"""Architecture parameters of a block, their probabilities, and the gates drawn from them.

After LENNA's first data generator (May 2020): every parameter of a block is uniform in (-r, r),
where r is one of six ratios that stand for how far a search has come, and an edge chooses its
operation with the probabilities of their softmax. A row's probabilities are drawn once and passed
on, so that what is logged is what the gates were drawn from.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import DatasetError

RATIOS = (0.01, 0.05, 0.1, 1.0, 5.0, 10.0)

Array = NDArray[np.float64]
Gates = NDArray[np.int64]
Offered = NDArray[np.bool_]


def draw_ratio(rng: np.random.Generator) -> float:
    """One of `RATIOS`, each as likely as the others."""
    return float(rng.choice(RATIOS))


def draw_parameters(rng: np.random.Generator, offered: Offered, ratio: float) -> Array:
    """Architecture parameters, uniform in (-ratio, ratio).

    Args:
        rng: Where chance comes from.
        offered: Which operations an edge has, shape (edges, operations).
        ratio: How far the search has come, above 0.

    Returns:
        Shape (edges, operations); minus infinity where an edge has no such operation.
    """
    return np.where(offered, rng.uniform(-ratio, ratio, offered.shape), -np.inf)


def softmax(parameters: Array) -> Array:
    """Probabilities of each edge's operations.

    Args:
        parameters: Shape (edges, operations); minus infinity for what an edge has not.

    Raises:
        DatasetError: If a parameter is not a number or infinite, or an edge has no operation.
    """
    largest = parameters.max(axis=1, keepdims=True)
    if not np.isfinite(largest).all():
        raise DatasetError(
            "architecture parameters are finite, or minus infinity for an operation that an edge "
            "has not; every edge has one operation at least"
        )
    weights = np.exp(parameters - largest)
    shares: Array = weights / weights.sum(axis=1, keepdims=True)
    return shares


def draw_gates(rng: np.random.Generator, probabilities: Array, count: int) -> Gates:
    """Operations that edges choose, independent of each other.

    Args:
        rng: Where chance comes from.
        probabilities: Shape (edges, operations), rows that sum to 1.
        count: How many times the gates are set.

    Returns:
        Index of each edge's operation, shape (count, edges).
    """
    return _inverse(probabilities, rng.random((count, len(probabilities))))


def balanced_gates(rng: np.random.Generator, probabilities: Array, count: int) -> Gates:
    """Gates as `draw_gates` draws them, but each edge chooses in proportion over ``count`` resets.

    A Latin hypercube (McKay, Beckman and Conover, 1979): an edge draws one number from each of
    ``count`` equal parts of the unit interval, in an order of its own. Every single reset has the
    same distribution as before, while of a latency that adds up over the edges nearly nothing is
    left to chance in the mean over all of them.

    Args:
        rng: Where chance comes from.
        probabilities: Shape (edges, operations), rows that sum to 1.
        count: How many times the gates are set.

    Returns:
        Index of each edge's operation, shape (count, edges).
    """
    parts = np.tile(np.arange(count)[:, None], (1, len(probabilities)))
    within = rng.random(parts.shape)
    return _inverse(probabilities, (rng.permuted(parts, axis=0) + within) / count)


def _inverse(probabilities: Array, uniform: Array) -> Gates:
    """The operations whose shares of the unit interval hold the numbers; none of share 0."""
    sums = probabilities.cumsum(axis=1)
    if not np.allclose(sums[:, -1], 1.0) or probabilities.min() < 0:
        raise DatasetError("probabilities of an edge are not negative and sum to 1")
    chosen = (uniform[:, :, None] * sums[:, -1:] >= sums).sum(axis=2)
    last = probabilities.shape[1] - 1 - (probabilities[:, ::-1] > 0).argmax(axis=1)
    gates: Gates = np.minimum(chosen, last)
    return gates
