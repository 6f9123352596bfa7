"""Fronts and hypervolumes against brute force and closed forms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.comparison.pareto import front, hypervolume, hypervolume_curve, rising


def _clouds(objectives: tuple[int, ...] = (1, 2, 3, 4)) -> st.SearchStrategy[np.ndarray]:
    def cloud(width: int) -> st.SearchStrategy[np.ndarray]:
        point = st.tuples(*[st.integers(-2, 6)] * width)
        return st.lists(point, min_size=1, max_size=9).map(lambda p: np.array(p, dtype=float))

    return st.sampled_from(objectives).flatmap(cloud)


def _cells(points: np.ndarray) -> int:
    """Unit cells of a grid that some point covers: the hypervolume of points on the grid."""
    cells = itertools.product(range(7), repeat=points.shape[1])
    return sum(bool((points >= np.array(cell) + 1).all(axis=1).any()) for cell in cells)


@given(_clouds())
def test_hypervolume_counts_the_covered_cells(points: np.ndarray) -> None:  # E7
    assert hypervolume(points, np.zeros(points.shape[1])) == pytest.approx(_cells(points))


@given(_clouds())
def test_no_member_of_a_front_is_dominated_and_all_others_are(points: np.ndarray) -> None:  # E7
    members = front(points)

    def covers(one: np.ndarray, other: np.ndarray) -> bool:
        return bool((one >= other).all())

    for i, j in itertools.permutations(members, 2):
        assert not covers(points[i], points[j])
    for k in set(range(len(points))) - set(members):
        assert any(covers(points[i], points[k]) for i in members)


@given(_clouds((2, 3)), st.integers(0, 9))
def test_hypervolume_over_time_never_falls(points: np.ndarray, unknown: int) -> None:  # E7
    points[unknown % len(points)] = np.nan if unknown > 4 else points[unknown % len(points)]
    reference, span = np.full(points.shape[1], -1.0), np.full(points.shape[1], 2.0)
    curve = hypervolume_curve(points, reference, span)
    values = [value for _, value in curve]
    assert values == sorted(values)
    assert curve[-1][0] == len(points)
    for count, value in curve:
        known = points[:count][np.isfinite(points[:count]).all(axis=1)]
        units = (known - reference) / span
        assert value == pytest.approx(hypervolume(units, np.zeros(points.shape[1])))


def test_hypervolume_of_boxes_in_closed_form() -> None:
    reference = np.array([1.0, 1.0, 1.0])
    assert hypervolume(np.array([[3.0, 2.0, 5.0]]), reference) == 2 * 1 * 4
    two = np.array([[3.0, 2.0, 5.0], [2.0, 4.0, 3.0]])  # their boxes share 1 × 1 × 2
    assert hypervolume(two, reference) == 8 + 1 * 3 * 2 - 1 * 1 * 2
    assert hypervolume(np.array([[3.0, 1.0, 5.0]]), reference) == 0.0
    circle = np.linspace(0, np.pi / 2, 20_001)
    quarter = np.stack([np.cos(circle), np.sin(circle)], axis=1)
    assert hypervolume(quarter, np.zeros(2)) == pytest.approx(np.pi / 4, abs=1e-4)


def test_the_best_so_far_is_told_where_it_changes_and_at_the_end() -> None:
    assert rising([2.0, 1.0, 3.0, 3.0, 2.0]) == [[1, 2.0], [3, 3.0], [5, 3.0]]
    assert rising([1.0]) == [[1, 1.0]]
    assert rising([]) == []
