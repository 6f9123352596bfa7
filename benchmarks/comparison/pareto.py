"""Several objectives at once: what is not dominated, and the hypervolume that it covers.

Points are larger-is-better in every column; a `Reward` says by its signs how to turn a field.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # (N, objectives)


class Archive:
    """The points that none of those seen so far dominates.

    Of equal points the first stays.

    Args:
        objectives: Number of columns.
    """

    def __init__(self, objectives: int) -> None:
        self.points: Points = np.empty((0, objectives))
        self.members: list[int] = []  # numbers of the points, in the order in which they came

    def add(self, number: int, point: Points) -> bool:
        """Adds a point unless it is dominated; says whether it was.

        Args:
            number: By which `members` names it.
            point: Shape (objectives,).
        """
        if (self.points >= point).all(axis=1).any():
            return False
        stays = np.asarray(~(self.points <= point).all(axis=1))
        self.points = np.vstack([self.points[stays], point])
        kept = zip(self.members, stays.tolist(), strict=True)
        self.members = [member for member, stay in kept if stay] + [number]
        return True


def front(points: Points) -> list[int]:
    """Rows that no other row dominates, ascending; the first of equal ones."""
    archive = Archive(points.shape[1])
    for number, point in enumerate(points):
        archive.add(number, point)
    return sorted(archive.members)


def hypervolume(points: Points, reference: Points) -> float:
    """Volume that lies above the reference point and below one of the points, exactly.

    Two objectives by a sweep; more by slices along the last one (Zitzler 1999, While et al. 2006),
    which suits the few hundred points of a front.

    Args:
        points: Shape (N, objectives); what does not exceed the reference everywhere counts nothing.
        reference: Shape (objectives,).
    """
    above = points[(points > reference).all(axis=1)] - reference
    return _volume(above)


def _volume(points: Points) -> float:
    """Hypervolume above the origin of points that are positive everywhere."""
    if not len(points):
        return 0.0
    if points.shape[1] == 1:
        return float(points.max())
    points = points[np.argsort(-points[:, -1], kind="stable")]
    if points.shape[1] == 2:
        return _area(points)
    lower = np.append(points[1:, -1], 0.0)
    slices = points[:, -1] - lower
    return sum(
        float(height) * _volume(_on_front(points[: i + 1, :-1]))
        for i, height in enumerate(slices)
        if height > 0.0
    )


def _area(points: Points) -> float:
    """Two objectives, sorted by the second one, falling: strips as wide as the widest so far."""
    widest = np.maximum.accumulate(points[:, 0])
    lower = np.append(points[1:, 1], 0.0)
    return float((widest * (points[:, 1] - lower)).sum())


def _on_front(points: Points) -> Points:
    return points[front(points)]


def hypervolume_curve(points: Points, reference: Points, span: Points) -> list[list[float]]:
    """Hypervolume after so many points, where it changes and at the end; never falling.

    Args:
        points: In the order in which they were measured, shape (N, objectives); rows that are not
            numbers (nothing was measured) count as points, and add nothing.
        reference: Shape (objectives,).
        span: Unit of each objective, so that the curve has none, shape (objectives,).

    Returns:
        Pairs of a number of points and a hypervolume.
    """
    scaled, origin = (points - reference) / span, np.zeros(points.shape[1])
    archive, curve, largest = Archive(points.shape[1]), [], 0.0
    for number, point in enumerate(scaled, 1):
        if np.isfinite(point).all() and (point > origin).all() and archive.add(number, point):
            volume = _volume(archive.points)
            if volume > largest:  # rounding may lower it by a last digit
                largest = volume
                curve.append([number, largest])
    return with_last(curve, len(points), 0.0)


def with_last(curve: list[list[float]], count: int, before: float) -> list[list[float]]:
    """A curve of changes that also says its value at the end.

    Args:
        curve: Pairs of a position and a value.
        count: The last position.
        before: Value where nothing changed.
    """
    if count and (not curve or curve[-1][0] < count):
        return [*curve, [count, curve[-1][1] if curve else before]]
    return curve


def rising(values: Iterable[float]) -> list[list[float]]:
    """The best value so far, as pairs of a position (from 1) and it, where it changes and last."""
    curve: list[list[float]] = []
    count = 0
    for count, value in enumerate(values, 1):
        if not curve or value > curve[-1][1]:
            curve.append([count, value])
    return with_last(curve, count, float("-inf"))
