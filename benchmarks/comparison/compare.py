"""What the runs of one environment say together: which agents are better than random search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.comparison.aggregates import (
    interquartile_means,
    probabilities_of_improvement,
    profiles,
)
from benchmarks.comparison.significance import bootstrap_band, bootstrap_interval, holm, p_greater

LEVEL = 0.05  # of the family of comparisons in one environment
POINTS = 100  # of a curve
THRESHOLDS = 51  # of a profile
Runs = Mapping[str, Sequence[Mapping[str, Any]]]  # label → runs, by seed


def stronger(runs: Runs, random: Sequence[str]) -> str | None:
    """The baseline: of the random searches that have runs, the one of highest mean reward."""
    known = [label for label in random if runs.get(label)]
    return max(known, key=lambda label: float(np.mean(_best(runs[label]))), default=None)


def compare(runs: Runs, baseline: str | None) -> dict[str, dict[str, Any]]:
    """Statistics of every agent, tested against the baseline where that has runs.

    Args:
        runs: Of one environment; agents without runs are left out.
        baseline: Label; None tests nothing.
    """
    best = {label: _best(of) for label, of in runs.items() if of}
    if not best:
        return {}
    raised = {} if baseline is None else _tests(best, baseline)
    chances = {} if baseline is None else _chances(best, baseline)
    middles = interquartile_means(best)
    verified = {label: _verified(of) for label, of in runs.items() if of}
    return {
        label: {
            "n": len(values),
            "mean": float(np.mean(values)),
            "interval": list(bootstrap_interval(values)),
            "median": float(np.median(values)),
            "iqm": middles[label][0],
            "iqm_interval": middles[label][1],
            **raised.get(label, {"p": None, "p_holm": None, "better_than_baseline": False}),
            "probability_of_improvement": chances.get(label),
            **_of_verified(verified, label, baseline),
        }
        for label, values in best.items()
    }


def _best(runs: Sequence[Mapping[str, Any]]) -> list[float]:
    return [run["best"] for run in runs]


def _verified(runs: Sequence[Mapping[str, Any]]) -> list[float]:
    return [run["verified"]["reward"] for run in runs if run.get("verified")]


def _tests(values: Mapping[str, list[float]], baseline: str) -> dict[str, dict[str, Any]]:
    """One-sided Mann–Whitney of all others against the baseline, Holm over the family."""
    raw = {
        label: p_greater(mine, values[baseline])
        for label, mine in values.items()
        if label != baseline and mine and values[baseline]
    }
    adjusted = holm(raw)
    return {
        label: {"p": p, "p_holm": adjusted[label], "better_than_baseline": adjusted[label] < LEVEL}
        for label, p in raw.items()
    }


def _chances(best: Mapping[str, list[float]], baseline: str) -> dict[str, dict[str, Any]]:
    others = {label: values for label, values in best.items() if label != baseline}
    found = probabilities_of_improvement(others, best[baseline]) if others else {}
    return {label: {"value": value, "interval": span} for label, (value, span) in found.items()}


def _of_verified(
    verified: Mapping[str, list[float]], label: str, baseline: str | None
) -> dict[str, Any]:
    mine = verified[label]
    tests = {} if baseline is None else _tests(verified, baseline)
    test = tests.get(label, {"p": None, "p_holm": None})
    return {
        "verified_mean": float(np.mean(mine)) if mine else None,
        "verified_interval": list(bootstrap_interval(mine)) if mine else None,
        "verified_p": test["p"],
        "verified_p_holm": test["p_holm"],
    }


def reward_profiles(runs: Runs) -> dict[str, Any] | None:
    """Share of an agent's runs above each reward; None without runs."""
    best = {label: _best(of) for label, of in runs.items() if of}
    if not best:
        return None
    every = [value for values in best.values() for value in values]
    low, high = min(every), max(every)
    margin = 0.02 * (high - low) or 0.01 * max(abs(high), 1.0)
    thresholds = np.linspace(low - margin, high + margin, THRESHOLDS).tolist()
    return {"reward": thresholds, "agents": profiles(best, thresholds)}


def reward_curves(runs: Runs, evaluations: int) -> dict[str, Any] | None:
    """Mean best reward so far over the seeds, with 95 % bands; None without runs."""
    known = {label: of for label, of in runs.items() if of}
    if not known:
        return None
    grid = np.unique(np.linspace(1, evaluations, min(evaluations, POINTS)).round().astype(int))
    return {
        "evaluations": grid.tolist(),
        "agents": {label: _band(of, grid) for label, of in known.items()},
    }


def _band(runs: Sequence[Mapping[str, Any]], grid: NDArray[np.int64]) -> dict[str, list[float]]:
    values = np.array([steps_at(run["curve"], grid) for run in runs])
    low, high = bootstrap_band(values)
    return {"mean": values.mean(axis=0).tolist(), "low": low.tolist(), "high": high.tolist()}


def steps_at(curve: Sequence[Sequence[float]], grid: NDArray[np.int64]) -> NDArray[np.float64]:
    """Values of a curve of changes at some evaluations; a run that ended early keeps its last."""
    at, value = np.array(curve, dtype=np.float64).T
    return np.asarray(value[np.searchsorted(at, grid, side="right") - 1])


def predicted_against_verified(runs: Runs) -> dict[str, Any] | None:
    """How well predicted rewards of winners agree with those after training; None without any."""
    from scipy.stats import kendalltau, pearsonr, spearmanr

    pairs = [
        (run["verified"]["predicted_reward"], run["verified"]["reward"])
        for of in runs.values()
        for run in of
        if run.get("verified")
    ]
    if not pairs:
        return None
    predicted, found = np.array(pairs).T
    if len(pairs) < 2 or np.ptp(predicted) == 0 or np.ptp(found) == 0:
        return {"pearson": None, "spearman": None, "tau": None, "n": len(pairs)}
    return {
        "pearson": float(pearsonr(predicted, found).statistic),
        "spearman": float(spearmanr(predicted, found).statistic),
        "tau": float(kendalltau(predicted, found).statistic),
        "n": len(pairs),
    }
