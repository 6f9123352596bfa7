"""Returns and advantages: the right sums, and the two that the original computed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
EPSILON = 1e-7


def discounted_returns(rewards: Sequence[float], gamma: float) -> Values:
    """G_t = Σ_{k ≥ t} γ^(k − t) · r_k, shape (T,).

    The original applied it to plays that do not depend on each other: each is credited with what
    all later ones earn, so that with positive rewards the return tells the position above all.
    """
    returns, after = np.zeros(len(rewards)), 0.0
    for t in reversed(range(len(rewards))):
        after = rewards[t] + gamma * after
        returns[t] = after
    return returns


def overwritten_returns(rewards: Sequence[float], alpha: float) -> Values:
    """What the loop of the custom-loss agents leaves: alpha^(n − 1 − 2 i) · r_(n − 1), shape (n,).

    It should have summed alpha^(k − i) · r_k over k; but it assigns where it should add, so that
    the last term alone stays, and counts its exponent down by 2 for every i. All rewards but the
    last one are lost.
    """
    count = len(rewards)
    exponents = count - 1 - 2 * np.arange(count)
    values: Values = np.array([float(alpha) ** int(e) for e in exponents]) * rewards[-1]
    return values


def standardised(values: Values) -> Values:
    """(v − mean) / (population standard deviation + 1e-7)."""
    result: Values = (values - values.mean()) / (values.std() + EPSILON)
    return result
