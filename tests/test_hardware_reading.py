"""What is made of the runs that a device reports."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.reading import Reading


def reading(*ticks: float, percentile: float = 50.0) -> Reading:
    return Reading(ticks, 1e6, "board", "a clock", 7, percentile=percentile)


def test_a_run_far_beyond_the_others_is_an_outlier_and_is_kept_as_raw() -> None:  # E3
    one = reading(100, 102, 101, 103, 99, 100, 5000)
    assert one.outliers == 1
    assert one.latency_ms == pytest.approx(0.1005)
    assert one.ticks[-1] == 5000
    assert one.percentile_ms(90) < 0.11
    assert one.spread_ms == pytest.approx(
        1e-3 * np.subtract(*np.percentile([100, 102, 101, 103, 99, 100], [75, 25]))
    )


def test_the_last_digit_of_a_steady_clock_is_no_outlier() -> None:
    assert reading(100, 100, 100, 100, 101).outliers == 0
    assert reading(100, 100, 100, 100, 104).outliers == 1


def test_the_percentile_that_is_reported_is_the_one_asked_for() -> None:
    runs = tuple(float(t) for t in range(1, 102))
    assert reading(*runs).latency_ms == pytest.approx(0.051)
    assert reading(*runs, percentile=10.0).latency_ms == pytest.approx(0.011)


@given(st.lists(st.floats(1.0, 1e6), min_size=1, max_size=50), st.floats(0.5, 1000.0))
def test_a_clock_with_other_steps_says_the_same(ticks: list[float], factor: float) -> None:
    """Metamorphic: the unit of the clock does not matter, nor the order of the runs."""
    one = Reading(tuple(t * 1e3 for t in ticks), 1e6, "board", "a clock", 7)
    scaled = Reading(tuple(t * 1e3 * factor for t in reversed(ticks)), 1e6 * factor, "board", "", 7)
    if one.outliers == scaled.outliers:  # the fence is at least one tick wide
        assert scaled.latency_ms == pytest.approx(one.latency_ms)
    assert one.kept.size + one.outliers == len(ticks)
    assert min(one.kept) >= min(one.ticks)


def test_plain_data_holds_every_run_and_what_follows_from_them() -> None:
    facts = reading(100, 102, 101).to_json()
    assert facts["ticks"] == [100, 102, 101]
    assert facts["p50_ms"] == pytest.approx(0.101)
    assert (facts["runs"], facts["outliers"], facts["model"]) == (3, 0, "00000007")
