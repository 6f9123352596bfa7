"""Corrects a predictor by what was verified: a Gaussian process on its errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
NOISE = 0.02  # standard deviation of one verified accuracy: one training of another seed
BIAS = 0.05  # prior standard deviation of what the predictor is wrong by everywhere
LEAST_DOUBT = 0.005  # of an ensemble whose members agree
LENGTH = 1.0  # length scale of the errors, in units of √F
ENOUGH = 5  # verified networks from which on the ensemble's doubt is scaled to its errors


@dataclass(frozen=True)
class Verified:
    """A network whose truth is known.

    Attributes:
        x: Its standardised features, shape (F,).
        mean: What the ensemble predicted.
        deviation: The ensemble's doubt.
        truth: What was measured.
    """

    x: Array
    mean: float
    deviation: float
    truth: float


class Correction:
    """Posterior of the error of an ensemble, given verified networks.

    The prior covariance of two errors is the product of the ensemble's doubts times a smooth
    function of the distance, and a common bias: where the members agree little is corrected, and
    near what was verified doubt shrinks (Kennedy and O'Hagan 2001, a discrepancy term). Without
    verified networks nothing changes.

    Args:
        verified: Networks whose truth is known.
    """

    def __init__(self, verified: Sequence[Verified] = ()) -> None:
        self.verified = tuple(verified)
        self._scale = 1.0
        if verified:
            self._condition()

    def _condition(self) -> None:
        rows = self.verified
        self._x = np.stack([row.x for row in rows])
        self._doubt = np.maximum([row.deviation for row in rows], LEAST_DOUBT)
        errors = np.array([row.truth - row.mean for row in rows])
        if len(rows) >= ENOUGH:
            self._scale = max(float(np.sqrt((errors**2).mean() / (self._doubt**2).mean())), 1.0)
        covariance = self._covariance(self._x, self._doubt)
        self._inverse = np.asarray(np.linalg.inv(covariance + NOISE**2 * np.eye(len(rows))))
        self._dual = self._inverse @ errors

    def _covariance(self, x: Array, doubt: Array) -> Array:
        """Prior covariance with the errors of the verified networks, shape (N, verified)."""
        squares = ((x[:, None] - self._x[None]) ** 2).mean(axis=2)
        smooth = np.exp(-squares / (2 * LENGTH**2))
        both: Array = self._scale**2 * doubt[:, None] * self._doubt * smooth + BIAS**2
        return both

    def apply(self, x: Array, mean: Array, deviation: Array) -> tuple[Array, Array]:
        """Corrected means and doubts, each of shape (N,).

        Args:
            x: Standardised features, shape (N, F).
            mean: What the ensemble predicts, shape (N,).
            deviation: Its doubt, shape (N,).
        """
        if not self.verified:
            return mean, deviation
        doubt = np.maximum(deviation, LEAST_DOUBT)
        cross = self._covariance(x, doubt)
        own = self._scale**2 * doubt**2 + BIAS**2
        variance = own - np.einsum("ij,jk,ik->i", cross, self._inverse, cross)
        return mean + cross @ self._dual, np.sqrt(np.maximum(variance, 0.0))
