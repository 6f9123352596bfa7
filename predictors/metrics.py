"""How well predictions agree with what was measured."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr

Array = NDArray[np.float64]
RESAMPLES, LEVEL = 2000, 0.95


def errors(predicted: Array, measured: Array) -> dict[str, float]:
    """Mean absolute and root mean squared error, in the unit of the values."""
    difference = predicted - measured
    return {
        "mae": float(np.abs(difference).mean()),
        "rmse": float(np.sqrt((difference**2).mean())),
    }


def ranks(predicted: Array, measured: Array) -> dict[str, float | None]:
    """Kendall's τ-b and Spearman's ρ; None where one side is constant."""
    if np.ptp(predicted) == 0 or np.ptp(measured) == 0:
        return {"tau": None, "spearman": None}
    return {
        "tau": float(kendalltau(predicted, measured).statistic),
        "spearman": float(spearmanr(predicted, measured).statistic),
    }


def bootstrap_tau(one: Array, other: Array, seed: int = 0) -> list[float | None]:
    """Low end, value and high end of Kendall's τ-b: the 95 % percentile interval over networks.

    Networks are resampled with replacement; a pair counts as often as both were drawn.

    Args:
        one: (N,).
        other: (N,).
        seed: Of the resamples.

    Returns:
        None three times where a side is constant.
    """
    rng, value = np.random.default_rng(seed), ranks(one, other)["tau"]
    if value is None:
        return [None, None, None]
    count = len(one)
    drawn = rng.multinomial(count, np.full(count, 1 / count), RESAMPLES).astype(np.float64)
    signs = [np.sign(side[:, None] - side) for side in (one, other)]
    both, *alone = (
        ((drawn @ (a * b)) * drawn).sum(axis=1)
        for a, b in (signs, (signs[0], signs[0]), (signs[1], signs[1]))
    )
    varies = (alone[0] > 0) & (alone[1] > 0)
    found = both[varies] / np.sqrt(alone[0][varies] * alone[1][varies])
    low, high = np.quantile(found, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return [float(low), value, float(high)]


def agreement(predicted: Array, measured: Array) -> dict[str, float | None]:
    """Errors and ranks together."""
    return {**errors(predicted, measured), **ranks(predicted, measured)}


def top(predicted: Array, measured: Array, share: float = 0.1) -> dict[str, float | int | None]:
    """Agreement among the networks that are predicted best, where a search ends up.

    ``bias`` is the mean of predicted − measured: how much a search that trusts the prediction is
    promised too much.
    """
    best = np.argsort(-predicted, kind="stable")[: max(round(share * len(predicted)), 2)]
    return {
        **agreement(predicted[best], measured[best]),
        "bias": float((predicted[best] - measured[best]).mean()),
        "n": len(best),
    }


def noise_floor(repeats: Sequence[Sequence[float]]) -> dict[str, float | int | None]:
    """How well one training of the same networks predicts another one.

    Args:
        repeats: For each network the same number of accuracies, one a seed.

    Returns:
        Mean over all pairs of seeds, the number of networks, and the mean standard deviation
        over the seeds of a network (``deviation``).
    """
    table = np.array(repeats, dtype=np.float64)
    if table.ndim != 2 or len(table) < 2 or table.shape[1] < 2:
        return {"tau": None, "spearman": None, "mae": None, "rmse": None, "n": len(table)}
    pairs = [
        agreement(table[:, a], table[:, b])
        for a, b in itertools.combinations(range(table.shape[1]), 2)
    ]
    means = {name: float(np.mean([pair[name] or 0.0 for pair in pairs])) for name in pairs[0]}
    deviation = float(table.std(axis=1, ddof=1).mean())
    return {**means, "deviation": deviation, "n": len(table)}


def rounded(value: object, digits: int = 6) -> object:
    """Every float of nested tables with so many significant digits."""
    if isinstance(value, dict):
        return {key: rounded(item, digits) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item, digits) for item in value]
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value
