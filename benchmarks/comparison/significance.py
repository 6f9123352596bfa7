"""Which differences are larger than chance: one-sided Mann–Whitney tests, Holm over the family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray


def p_greater(sample: Sequence[float], baseline: Sequence[float]) -> float:
    """Probability under "no difference" of the sample lying so far above the baseline.

    One-sided Mann–Whitney U test, exact for small samples without ties.

    Args:
        sample: One value per seed.
        baseline: One value per seed.
    """
    from scipy.stats import mannwhitneyu  # slow to import; only reports need it

    return float(mannwhitneyu(sample, baseline, alternative="greater").pvalue)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjusts a family of p-values so that a single false alarm is as rare as stated.

    Holm, 1979: the i-th smallest of m is multiplied by m − i, and none falls below a smaller one.
    """
    adjusted: dict[str, float] = {}
    running = 0.0
    ranked = sorted(p_values.items(), key=lambda item: item[1])
    for rank, (name, value) in enumerate(ranked):
        running = max(running, min(1.0, value * (len(ranked) - rank)))
        adjusted[name] = running
    return adjusted


def bootstrap_interval(
    values: Sequence[float], confidence: float = 0.95, draws: int = 4000
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean; always the same for the same values."""
    sample = np.asarray(values, dtype=float)
    rng = np.random.default_rng(0)
    means = rng.choice(sample, (draws, len(sample))).mean(axis=1)
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail])
    return float(low), float(high)


def bootstrap_band(
    values: NDArray[np.float64], confidence: float = 0.95, draws: int = 2000
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Percentile bootstrap intervals of the mean curve: whole runs are drawn.

    Args:
        values: One curve a run, shape (runs, points).
        confidence: Of the interval at each point by itself.
        draws: Number of resamples.

    Returns:
        Low and high ends, each of shape (points,).
    """
    drawn = np.random.default_rng(0).integers(len(values), size=(draws, len(values)))
    shares = np.zeros((draws, len(values)))
    np.add.at(shares, (np.arange(draws)[:, None], drawn), 1.0 / len(values))
    tail = (1.0 - confidence) / 2.0
    low, high = np.quantile(shares @ values, [tail, 1.0 - tail], axis=0)
    return low, high


def expected_best(values: Sequence[float], count: int) -> float:
    """Expected maximum of ``count`` draws without replacement from a sample, in closed form.

    The k-th smallest of n is the maximum with probability C(k−1, count−1) / C(n, count).

    Raises:
        ValueError: If more are drawn than there are.
    """
    ranked = np.sort(np.asarray(values, dtype=float))
    n = len(ranked)
    if not 1 <= count <= n:
        raise ValueError(f"{count} of {n} cannot be drawn")
    k = np.arange(1, n + 1)
    ratio = np.ones(n)
    for i in range(count):
        ratio *= np.maximum(k - i, 0) / (n - i)
    below = np.concatenate([[0.0], ratio[:-1]])
    return float((ranked * (ratio - below)).sum())
