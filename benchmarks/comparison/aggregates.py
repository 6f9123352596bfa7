"""Aggregates over seeds with stratified bootstrap intervals, by rliable (Agarwal et al. 2021).

rliable draws from numpy's global generator; it is seeded here and put back, so that the same runs
always give the same intervals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import BackendMissing

DRAWS = 2000
Scores = Mapping[str, Sequence[float]]  # label → one value a seed
Interval = list[float]


def _rliable() -> Any:  # noqa: ANN401
    """The library; slow to import, so that only statistics pay for it.

    Raises:
        BackendMissing: If it is not installed.
    """
    try:
        from rliable import library
    except ImportError as error:
        raise BackendMissing(
            "the statistics of a suite need the package rliable: pip install 'emnas-gym[report]'"
        ) from error
    return library


@contextmanager
def _seeded() -> Iterator[None]:
    state = np.random.get_state()
    np.random.seed(0)
    try:
        yield
    finally:
        np.random.set_state(state)


def _column(values: Sequence[float]) -> NDArray[np.float64]:
    """Runs × tasks, as rliable wants it; the one task is the environment."""
    return np.asarray(values, dtype=np.float64)[:, None]


def _estimates(
    scores: Mapping[str, Any], func: Callable[..., NDArray[np.float64]]
) -> tuple[dict[str, Any], dict[str, Any]]:
    library = _rliable()
    with _seeded():
        points, intervals = library.get_interval_estimates(scores, func, reps=DRAWS)
    return points, intervals


def interquartile_means(scores: Scores) -> dict[str, tuple[float, Interval]]:
    """Mean of the middle half of the runs, and its 95 % interval, by label."""
    columns = {label: _column(values) for label, values in scores.items()}
    points, intervals = _estimates(columns, lambda x: np.array([_middle_mean(x)]))
    return {
        label: (float(points[label][0]), [float(v) for v in intervals[label][:, 0]])
        for label in scores
    }


def _middle_mean(x: NDArray[np.float64]) -> float:
    """Mean without the lowest and highest quarter, rounded down, as rliable's metric."""
    cut = x.size // 4
    return float(np.sort(x, axis=None)[cut : x.size - cut].mean())


def probabilities_of_improvement(
    scores: Scores, baseline: Sequence[float]
) -> dict[str, tuple[float, Interval]]:
    """Probability that a run is better than one of the baseline, with its 95 % interval.

    A tie counts half, as in rliable's own metric, which is the Mann–Whitney U ÷ the pairs.

    Args:
        scores: By label, the baseline's own left out.
        baseline: One value a seed.
    """
    pairs = {label: [_column(values), _column(baseline)] for label, values in scores.items()}
    points, intervals = _estimates(pairs, lambda x, y: np.array([_share_of_wins(x, y)]))
    return {
        label: (float(points[label][0]), [float(v) for v in intervals[label][:, 0]])
        for label in scores
    }


def _share_of_wins(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Share of all pairs of runs that x wins; both (runs, 1)."""
    return float(((x > y.T) + 0.5 * (x == y.T)).mean())


def profiles(scores: Scores, thresholds: Sequence[float]) -> dict[str, dict[str, list[float]]]:
    """Share of runs above each threshold, with 95 % bands: the performance profile.

    Args:
        scores: By label.
        thresholds: Rewards, ascending.
    """
    library = _rliable()
    columns = {label: _column(values) for label, values in scores.items()}
    taus = np.asarray(thresholds, dtype=np.float64)
    with _seeded():
        shares, bands = library.create_performance_profile(
            columns, taus, custom_profile_func=_share_above, reps=DRAWS
        )
    return {
        label: {
            "share": [float(v) for v in shares[label]],
            "low": [float(v) for v in bands[label][0]],
            "high": [float(v) for v in bands[label][1]],
        }
        for label in scores
    }


def _share_above(scores: NDArray[np.float64], taus: NDArray[np.float64]) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = (scores[..., None] > taus).mean(axis=(0, 1))
    return shares
