"""Statistics: corrections by hand, closed forms against chance itself."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from benchmarks.comparison.significance import bootstrap_interval, expected_best, holm, p_greater

values = st.lists(st.integers(-50, 50).map(float), min_size=1, max_size=12)


def test_holm_by_hand() -> None:
    """The example of four hypotheses: 0.01·4, 0.02·3, 0.03·2 and 0.04·1, none below a smaller."""
    adjusted = holm({"a": 0.02, "b": 0.01, "c": 0.04, "d": 0.03})
    assert adjusted == pytest.approx({"b": 0.04, "a": 0.06, "d": 0.06, "c": 0.06})
    assert holm({"a": 0.6, "b": 0.9}) == {"a": 1.0, "b": 1.0}
    assert holm({"a": 0.03}) == {"a": 0.03}
    assert holm({}) == {}


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=8))
def test_holm_is_the_definition(p_values: dict[str, float]) -> None:
    """Adjusted p = the largest (how many are left) · p of all that are not larger, at most 1."""
    adjusted = holm(p_values)
    ranked = sorted(p_values, key=lambda name: p_values[name])
    for i, name in enumerate(ranked):
        factors = [(len(ranked) - j) * p_values[ranked[j]] for j in range(i + 1)]
        assert adjusted[name] == pytest.approx(min(max(factors), 1.0))
        assert adjusted[name] >= p_values[name]
        assert adjusted[name] <= min(1.0, p_values[name] * len(ranked)) + 1e-12, "never above Bonf."


def test_p_is_the_share_of_all_orders_that_lie_as_high() -> None:
    """One-sided and exact: every way of dealing the values to two groups counted."""
    sample, baseline = [0.91, 0.95, 0.97, 0.88], [0.9, 0.85, 0.86, 0.8, 0.7]
    pooled = sample + baseline

    def u(chosen: tuple[int, ...]) -> int:
        rest = [pooled[i] for i in range(9) if i not in chosen]
        return sum(pooled[i] > other for i in chosen for other in rest)

    every = [u(chosen) for chosen in itertools.combinations(range(9), 4)]
    exact = np.mean(np.array(every) >= u((0, 1, 2, 3)))
    assert p_greater(sample, baseline) == pytest.approx(exact)
    best = p_greater([2.0] * 0 + [11.0, 12.0, 13.0], [1.0, 2.0, 3.0])
    assert best == pytest.approx(1 / math.comb(6, 3))


def test_p_agrees_with_scipy_and_knows_its_side() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.normal(0.3, 1, 10).tolist(), rng.normal(0, 1, 10).tolist()
        assert p_greater(a, b) == mannwhitneyu(a, b, alternative="greater").pvalue
        assert p_greater(a, b) + p_greater(b, a) >= 1.0
    assert p_greater([1.0] * 10, [1.0] * 10) >= 0.5, "ties are no difference"


@pytest.mark.parametrize("count", [1, 2, 5, 20, 50])
def test_expected_best_is_what_drawing_gives(count: int) -> None:  # B1
    rng = np.random.default_rng(count)
    sample = rng.normal(size=50)
    drawn = [sample[rng.permutation(50)[:count]].max() for _ in range(4000)]
    error = np.std(drawn) / math.sqrt(4000)
    assert abs(expected_best(sample.tolist(), count) - np.mean(drawn)) <= 4 * error + 1e-12


@given(values, st.data())
def test_expected_best_is_the_mean_over_all_subsets(
    sample: list[float], data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, min(len(sample), 6)))
    subsets = [max(subset) for subset in itertools.combinations(sample, count)]
    assert expected_best(sample, count) == pytest.approx(np.mean(subsets))


def test_expected_best_of_everything_is_the_best_and_of_one_the_mean() -> None:
    sample = [3.0, 1.0, 2.0, 2.0]
    assert expected_best(sample, 4) == 3.0
    assert expected_best(sample, 1) == 2.0
    for count in (0, 5, -1):
        with pytest.raises(ValueError, match="of 4 cannot be drawn"):
            expected_best(sample, count)


def test_bootstrap_intervals_repeat_and_cover() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(150):
        sample = rng.normal(5, 2, 30)
        low, high = bootstrap_interval(sample.tolist(), draws=500)
        assert low < sample.mean() < high
        hits += low <= 5 <= high
    assert 0.86 <= hits / 150 <= 1.0, "95 % intervals cover about so often"
    same = [1.0, 2.0, 4.0]
    assert bootstrap_interval(same) == bootstrap_interval(same)
    assert bootstrap_interval([2.0, 2.0]) == (2.0, 2.0)
    narrow, wide = bootstrap_interval(same, 0.5), bootstrap_interval(same, 0.99)
    assert wide[0] <= narrow[0] <= narrow[1] <= wide[1]
