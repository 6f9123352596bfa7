"""The Gaussian process of a new device: known devices, weighted, and what they do not explain.

The logarithm of the new latency is a Gaussian process (universal kriging, Cressie 1993):

    log y(x) = c + Σ_k w_k z_k(x) + r(x) + noise

with z_k the known devices' predicted log latencies, weights w around a prior, r a smooth residual
in the features, and a constant c without a prior. Its special cases are what is usually done: no
known device is a fit from scratch, the nearest one with fixed weight is a plain scaling (OneProxy,
Lu et al. 2021), one with a free weight is a line. How far weights and residual may go is learned
from the known devices, each held out in turn (`learned_prior` of `adapted`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from predictors.transfer.known import squared_distances

Array = NDArray[np.float64]
CENTRES = ("nothing", "nearest", "mean")


@dataclass(frozen=True)
class Prior:
    """What is believed of a new device before anything is measured.

    Attributes:
        centre: Weights that are expected: none, one for the nearest device, or equal ones.
        weights: Standard deviation of every weight.
        nearest_only: Whether the other devices are left out.
        residual: Standard deviation of the smooth residual, in logarithms.
        slope: Standard deviation of a linear residual, in logarithms.
        length: Length scale of the residual, in units of √F.
        noise: Standard deviation of one measurement, in logarithms.
    """

    centre: str = "nearest"
    weights: float = 0.3
    nearest_only: bool = False
    residual: float = 0.1
    slope: float = 0.0
    length: float = 1.0
    noise: float = 0.03


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


@dataclass(frozen=True)
class Process:
    """The Gaussian process after the measurements; pure functions of z and x.

    Attributes:
        expected: Prior mean of the weights, shape (K,).
        spread: Prior deviation of each weight, shape (K,).
        middle: Known log latencies of the samples on average, shape (K,).
        samples_z: Known log latencies of the samples around `middle`, shape (n, K).
        samples_x: Standardised features of the samples, shape (n, F).
        inverse: Inverse covariance of the samples, shape (n, n).
        samples_dual: Inverse covariance times what the prior leaves over, shape (n,).
        constant: c.
        prior: What it rests on.
    """

    expected: Array
    spread: Array
    middle: Array
    samples_z: Array
    samples_x: Array
    inverse: Array
    samples_dual: Array
    constant: float
    prior: Prior

    @classmethod
    def after(cls, z: Array, x: Array, log_y: Array, prior: Prior) -> Process:
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
        covariance = _covariance(known, x, known, x, spread, prior)
        noise = prior.noise**2 * np.eye(len(z))
        inverse = np.asarray(np.linalg.inv(covariance + noise), dtype=np.float64)
        left = log_y - known @ expected
        constant = float((inverse @ left).sum() / inverse.sum())
        dual: Array = inverse @ (left - constant)
        return cls(expected, spread, middle, known, x, inverse, dual, constant, prior)

    def predict(self, z: Array, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the log latency, each of shape (N,).

        Args:
            z: Log latency on the known devices, shape (N, K).
            x: Standardised features, shape (N, F).
        """
        known = z - self.middle
        cross = _covariance(known, x, self.samples_z, self.samples_x, self.spread, self.prior)
        mean = self.constant + known @ self.expected + cross @ self.samples_dual
        lacking = 1.0 - (cross @ self.inverse).sum(axis=1)
        own = (known**2) @ self.spread**2 + self.prior.residual**2
        own = own + self.prior.slope**2 * (x**2).mean(axis=1)
        explained = np.einsum("ij,jk,ik->i", cross, self.inverse, cross)
        variance = own - explained + lacking**2 / self.inverse.sum()
        return mean, np.sqrt(np.maximum(variance, 0.0))


def _weights(z: Array, log_y: Array, prior: Prior) -> tuple[Array, Array]:
    """Prior mean and deviation of the weights of the known devices."""
    count = z.shape[1]
    one = np.zeros(count)
    if count and prior.centre != "nothing":
        one[nearest(z, log_y)] = 1.0
    expected = np.full(count, 1.0 / max(count, 1)) if prior.centre == "mean" else one
    allowed = one if prior.nearest_only else np.ones(count)
    return expected, prior.weights * allowed


def _covariance(z: Array, x: Array, to_z: Array, to_x: Array, spread: Array, prior: Prior) -> Array:
    length = prior.length * x.shape[1] ** 0.5
    smooth = np.exp(-squared_distances(x, to_x) / (2 * length**2))
    total: Array = (z * spread**2) @ to_z.T + prior.residual**2 * smooth
    total += prior.slope**2 * (x @ to_x.T) / x.shape[1]
    return total


def likelihood(z: Array, x: Array, log_y: Array, prior: Prior) -> float:
    """Restricted log likelihood of the samples, up to a constant: how well a prior explains them.

    Args:
        z: Log latency of the samples on the known devices, shape (n, K).
        x: Standardised features of the samples, shape (n, F).
        log_y: Log latency of the samples on the new device, shape (n,).
        prior: What is believed before.
    """
    process = Process.after(z, x, log_y, prior)
    left = log_y - process.samples_z @ process.expected - process.constant
    fit = float(left @ process.samples_dual)
    size = -float(np.linalg.slogdet(process.inverse)[1])
    return -0.5 * (fit + size + float(np.log(process.inverse.sum())))
