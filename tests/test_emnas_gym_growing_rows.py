"""A table that grows: its rows are those that were added, and few appends copy it."""

from __future__ import annotations

import numpy as np
import pytest

from emnas_gym.growing_rows import GrowingRows


@pytest.mark.parametrize("kind", [np.float32, np.int8])
def test_rows_are_what_was_appended(kind: type) -> None:
    blocks = [np.full((i % 3, 4), i, dtype=kind) for i in range(100)]
    table = GrowingRows(np.zeros((1, 4), dtype=kind))
    for block in blocks:
        table.append(block)
    wanted = np.concatenate([np.zeros((1, 4), dtype=kind), *blocks])
    assert table.rows.dtype == kind
    assert np.array_equal(table.rows, wanted)
    assert len(table) == len(wanted)


def test_it_is_copied_a_few_times_only() -> None:
    table, places = GrowingRows(np.zeros((1, 2))), set()
    for _ in range(1000):
        table.append(np.ones((1, 2)))
        places.add(table.rows.__array_interface__["data"][0])
    assert len(places) < 15


def test_the_first_rows_are_its_own() -> None:
    first = np.zeros((2, 2))
    table = GrowingRows(first)
    table.append(np.ones((1, 2)))
    table.rows[:] = 5
    assert not first.any()
