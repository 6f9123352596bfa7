"""Several objectives at once: who dominates whom, fronts, and how crowded a front is.

Points are larger-is-better in every column, shape (N, objectives); a violation is 0 for what keeps
all constraints. All after Deb et al. 2002, "A fast and elitist multiobjective genetic algorithm:
NSGA-II".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
Rows = NDArray[np.int64]


def dominance(points: Points, violations: Points | None = None) -> NDArray[np.bool_]:
    """Whether row i dominates row j, shape (N, N).

    Without constraints i dominates j if it is nowhere worse and somewhere better. With them what
    is feasible dominates what is not, and of two that are not the smaller violation does
    (constraint-domination, section VI).

    Args:
        points: (N, objectives).
        violations: (N,), 0 where feasible, infinite where nothing was measured; None is 0.
    """
    no_worse = (points[:, None] >= points[None]).all(axis=2)
    better = (points[:, None] > points[None]).any(axis=2)
    if violations is None:
        return np.asarray(no_worse & better)
    broken = violations > 0
    both_feasible = ~broken[:, None] & ~broken[None]
    return np.where(both_feasible, no_worse & better, violations[:, None] < violations[None])


def fronts(points: Points, violations: Points | None = None) -> list[Rows]:
    """Rows by non-domination, the best front first, each ascending (section III-A).

    A row belongs to the front after that of the last row which dominates it.

    Args:
        points: (N, objectives).
        violations: (N,); None is 0.
    """
    dominates = dominance(points, violations)
    dominators = dominates.sum(axis=0)
    found: list[Rows] = []
    left = np.ones(len(points), dtype=bool)
    while left.any():
        front = np.flatnonzero(left & (dominators == 0))
        left[front] = False
        dominators = dominators - dominates[front].sum(axis=0)
        found.append(front)
    return found


def crowding(points: Points) -> Points:
    """Crowding distance of each row of one front, shape (N,) (section III-B).

    The sum over the objectives of the distance between the two neighbours of a row, as a share of
    the span of the front; infinite at both ends. An objective in which all are equal says nothing.
    """
    distance = np.zeros(len(points))
    for column in points.T:
        order = np.argsort(column, kind="stable")
        span = column[order[-1]] - column[order[0]]
        if span > 0:
            distance[order[1:-1]] += (column[order[2:]] - column[order[:-2]]) / span
            distance[order[[0, -1]]] = np.inf
    return distance
