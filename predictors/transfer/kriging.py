"""Conditions the process of a new device (`emnas_gym.models.adapted`) on its first samples.

Special cases of it are what is usually done: no known device is a fit from scratch, the nearest
one with fixed weight is a plain scaling (OneProxy, Lu et al. 2021), one with a free weight is a
line. How far weights and residual may go is learned from the known devices, each held out in turn
(`learned_prior` of `adapted`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from emnas_gym.models.adapted import Prior, Process, covariance

Array = NDArray[np.float64]


SCRATCH = Prior("nothing", 0.0, residual=0.5, slope=0.5)
SCALED = Prior("nearest", 0.0, nearest_only=True, residual=0.0)
LINEAR = Prior("nearest", 0.5, nearest_only=True, residual=0.0)


def nearest(z: Array, log_y: Array) -> int:
    """Index of the known device whose order of the samples is most like the new one's.

    Args:
        z: Log latency of the samples on the known devices, shape (n, K).
        log_y: Log latency of the samples on the new device, shape (n,).
    """
    if np.ptp(log_y) == 0:
        return 0
    scores = [spearmanr(column, log_y).statistic if np.ptp(column) else -1.0 for column in z.T]
    return int(np.argmax(scores))


def condition(z: Array, x: Array, log_y: Array, prior: Prior) -> Process:
    """Conditions the prior on n samples.

    Args:
        z: Log latency of the samples on the known devices, shape (n, K).
        x: Standardised features of the samples, shape (n, F).
        log_y: Log latency of the samples on the new device, shape (n,).
        prior: What is believed before.
    """
    expected, spread = _weights(z, log_y, prior)
    middle = z.mean(axis=0)
    known = z - middle
    noise = prior.noise**2 * np.eye(len(z))
    total = covariance(known, x, known, x, spread, prior) + noise
    inverse = np.asarray(np.linalg.inv(total), dtype=np.float64)
    left = log_y - known @ expected
    constant = float((inverse @ left).sum() / inverse.sum())
    dual: Array = inverse @ (left - constant)
    return Process(expected, spread, middle, known, x, inverse, dual, constant, prior)


def _weights(z: Array, log_y: Array, prior: Prior) -> tuple[Array, Array]:
    """Prior mean and deviation of the weights of the known devices."""
    count = z.shape[1]
    one = np.zeros(count)
    if count and prior.centre != "nothing":
        one[nearest(z, log_y)] = 1.0
    expected = np.full(count, 1.0 / max(count, 1)) if prior.centre == "mean" else one
    allowed = one if prior.nearest_only else np.ones(count)
    return expected, prior.weights * allowed


def likelihood(z: Array, x: Array, log_y: Array, prior: Prior) -> float:
    """Restricted log likelihood of the samples, up to a constant: how well a prior explains them.

    Args:
        z: Log latency of the samples on the known devices, shape (n, K).
        x: Standardised features of the samples, shape (n, F).
        log_y: Log latency of the samples on the new device, shape (n,).
        prior: What is believed before.
    """
    process = condition(z, x, log_y, prior)
    left = log_y - process.samples_z @ process.expected - process.constant
    fit = float(left @ process.samples_dual)
    size = -float(np.linalg.slogdet(process.inverse)[1])
    return -0.5 * (fit + size + float(np.log(process.inverse.sum())))
