"""Aggregates over seeds against rliable's own metrics, scipy and closed forms; the baseline."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rliable import metrics
from scipy.stats import mannwhitneyu
from small_suites import few_draws

from benchmarks.comparison import aggregates
from benchmarks.comparison.aggregates import (
    interquartile_means,
    probabilities_of_improvement,
    profiles,
)
from benchmarks.comparison.compare import (
    compare,
    predicted_against_verified,
    reward_curves,
    reward_profiles,
    steps_at,
    stronger,
)
from benchmarks.comparison.significance import bootstrap_band, bootstrap_interval, holm, p_greater

values = st.lists(st.integers(-9, 9).map(float), min_size=1, max_size=14)


@given(values, values)
@settings(deadline=None)
def test_points_are_those_of_rliables_metrics(one: list[float], other: list[float]) -> None:  # B25
    x, y = np.array(one)[:, None], np.array(other)[:, None]
    assert aggregates._middle_mean(x) == pytest.approx(metrics.aggregate_iqm(x))
    chance = metrics.probability_of_improvement(x, y)
    assert aggregates._share_of_wins(x, y) == pytest.approx(chance)
    u = mannwhitneyu(one, other, alternative="greater").statistic
    assert aggregates._share_of_wins(x, y) == pytest.approx(u / (len(one) * len(other)))


def test_intervals_repeat_hold_their_point_and_leave_the_global_generator() -> None:
    rng = np.random.default_rng(0)
    scores = {"a": rng.normal(1, 1, 12).tolist(), "b": rng.normal(0, 1, 9).tolist()}
    np.random.seed(5)
    expected = np.random.random()
    np.random.seed(5)
    first = interquartile_means(scores), probabilities_of_improvement(scores, scores["b"])
    assert np.random.random() == expected
    assert first == (
        interquartile_means(scores), probabilities_of_improvement(scores, scores["b"])
    )  # fmt: skip
    for found in first:
        for value, (low, high) in found.values():
            assert low <= value <= high
    _, (low, high) = first[0]["a"]
    deviation = np.std(scores["a"], ddof=1) / np.sqrt(6)  # of the mean of the six in the middle
    assert 0.5 * deviation < high - low < 6 * deviation
    certain = probabilities_of_improvement({"a": [2.0, 3.0]}, [0.0, 1.0])["a"]
    assert certain == (1.0, [1.0, 1.0])


@pytest.mark.usefixtures(few_draws.__name__)
def test_a_profile_is_the_share_of_runs_above() -> None:
    found = profiles({"a": [1.0, 2.0, 2.0, 3.0]}, [0.0, 1.0, 1.5, 2.0, 3.0])["a"]
    assert found["share"] == [1.0, 0.75, 0.75, 0.25, 0.0]
    assert all(lo <= hi for lo, hi in zip(found["low"], found["high"], strict=True))


def test_a_band_is_the_interval_of_the_mean_at_each_point() -> None:
    curves = np.random.default_rng(1).normal(size=(10, 3)).cumsum(axis=1)
    low, high = bootstrap_band(curves, draws=20_000)
    for point in range(3):
        expected = bootstrap_interval(curves[:, point].tolist(), draws=20_000)
        assert (low[point], high[point]) == pytest.approx(expected, abs=0.03)


def _runs(best: list[float], verified: list[float] | None = None) -> list[dict[str, Any]]:
    return [
        {
            "best": value,
            "curve": [[1, value - 1.0], [4, value], [9, value]],
            "verified": verified and {"reward": verified[i], "predicted_reward": value},
        }
        for i, value in enumerate(best)
    ]


RNG = np.random.default_rng(3)
BEST = {
    "random": RNG.normal(0.80, 0.02, 10).tolist(),
    "walk": RNG.normal(0.85, 0.02, 10).tolist(),
    "good": RNG.normal(0.95, 0.02, 10).tolist(),
    "same": RNG.normal(0.85, 0.02, 10).tolist(),
}


@pytest.mark.usefixtures(few_draws.__name__)
def test_agents_are_tested_against_the_stronger_sampler() -> None:  # B25, B26
    runs = {label: _runs(best) for label, best in BEST.items()}
    assert stronger(runs, ["random", "walk"]) == "walk"
    assert stronger(runs | {"walk": []}, ["random", "walk"]) == "random"
    assert stronger({}, ["random"]) is None
    found = compare(runs, "walk")
    raw = {k: p_greater(BEST[k], BEST["walk"]) for k in ("random", "good", "same")}
    assert {k: found[k]["p"] for k in raw} == raw
    assert {k: found[k]["p_holm"] for k in raw} == holm(raw)
    better = {label: row["better_than_baseline"] for label, row in found.items()}
    assert better == {"random": False, "walk": False, "good": True, "same": False}
    assert found["walk"]["p"] is None
    assert found["walk"]["probability_of_improvement"] is None
    assert found["good"]["probability_of_improvement"]["value"] > 0.99
    assert found["good"]["median"] == np.median(BEST["good"])
    assert found["good"]["verified_mean"] is found["good"]["verified_p"] is None
    untested = compare({"good": runs["good"]}, None)["good"]
    assert (untested["p"], untested["better_than_baseline"]) == (None, False)
    assert compare({"good": []}, None) == {}


@pytest.mark.usefixtures(few_draws.__name__)
def test_what_was_verified_is_tested_by_itself() -> None:
    low, high = [0.7 + i / 100 for i in range(5)], [0.9 + i / 100 for i in range(5)]
    runs = {"random": _runs(high, low), "good": _runs(high, high)}
    found = compare(runs, "random")
    assert found["good"]["p"] > 0.4
    assert found["good"]["verified_p"] == p_greater(high, low) == pytest.approx(1 / 252)
    agreement = predicted_against_verified({"good": _runs(high, high[::-1])})
    assert agreement is not None
    assert (agreement["n"], agreement["pearson"]) == (5, pytest.approx(-1.0))
    assert predicted_against_verified({"good": _runs(high)}) is None
    alone = predicted_against_verified({"good": _runs([1.0], [1.0])})
    assert alone == {"pearson": None, "spearman": None, "tau": None, "n": 1}


@pytest.mark.usefixtures(few_draws.__name__)
def test_curves_and_profiles_of_an_environment() -> None:
    runs = {"random": _runs([1.0, 3.0]), "none": []}
    curves = reward_curves(runs, 12)
    assert curves is not None
    assert curves["evaluations"] == list(range(1, 13))
    assert curves["agents"]["random"]["mean"] == [1.0] * 3 + [2.0] * 9, (
        "an early end keeps its last"
    )
    assert set(curves["agents"]) == {"random"}
    assert steps_at([[1, 5.0], [3, 6.0]], np.array([1, 2, 3, 9])).tolist() == [5, 5, 6, 6]
    found = reward_profiles(runs)
    assert found is not None
    share = found["agents"]["random"]["share"]
    assert (share[0], share[-1]) == (1.0, 0.0)
    assert found["reward"] == sorted(found["reward"])
    assert len(reward_curves(runs, 10_000)["evaluations"]) == 100  # type: ignore[index]
