"""Which networks to measure first on a new device."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from emnas_gym.models.known_devices import squared_distances

Array = NDArray[np.float64]
Indices = NDArray[np.int64]
Select = Callable[[Array, Array, int, np.random.Generator], Indices]
OFFERED = 200  # networks among which diversity or quantiles are sought


def random(x: Array, z: Array, count: int, rng: np.random.Generator) -> Indices:
    """Uniformly.

    Args:
        x: Standardised features of the networks that could be measured, shape (N, F).
        z: Their log latency on the known devices, shape (N, K).
        count: How many to choose.
        rng: Source of randomness.

    Returns:
        Indices of distinct networks, shape (count,).
    """
    return rng.choice(len(x), count, replace=False)


def diverse(x: Array, z: Array, count: int, rng: np.random.Generator) -> Indices:
    """Each as far as possible from all that were chosen before (greedy max-min; Gonzalez 1985).

    Arguments and result as those of `random`.
    """
    offered = _offered(len(x), count, rng)
    chosen = [0]
    distance = squared_distances(x[offered], x[offered[:1]])[:, 0]
    while len(chosen) < count:
        distance[chosen] = -1.0
        chosen.append(int(np.argmax(distance)))
        latest = offered[chosen[-1]]
        distance = np.minimum(distance, squared_distances(x[offered], x[[latest]])[:, 0])
    return offered[chosen]


def quantiles(x: Array, z: Array, count: int, rng: np.random.Generator) -> Indices:
    """Evenly spread over the order of latency, averaged over the known devices.

    Arguments and result as those of `random`.
    """
    offered = _offered(len(x), count, rng)
    order = offered[np.argsort(z[offered].mean(axis=1), kind="stable")]
    places = np.rint(np.linspace(0, len(order) - 1, count)).astype(np.int64)
    return order[places]


def _offered(size: int, count: int, rng: np.random.Generator) -> Indices:
    return rng.choice(size, min(size, max(OFFERED, count)), replace=False)


SELECTIONS: dict[str, Select] = {"random": random, "diverse": diverse, "quantiles": quantiles}
