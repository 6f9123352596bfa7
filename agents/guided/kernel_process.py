"""An exact Gaussian process whose kernel weighs groups of features (Rasmussen & Williams 2006).

k(x, x') = a · exp(−Σ_g w_g ‖x_g − x'_g‖²), measured with noise of variance s. The logarithms of a,
w_g and s maximise the marginal likelihood (equation 5.8) times a wide normal prior, which keeps
them sane while rows are few, equal, or repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.optimize import minimize

from agents.guided.acquisition import expected_improvement

Array = NDArray[np.float64]
NOISE = np.exp(-2.0)  # median of the prior of the noise's variance; rewards have variance 1
WIDTHS = (1.0, 1.0, 1.5)  # prior deviations of the logarithms of a, of each w and of s
REACH = 5.0  # logarithms stay so near the middle of their prior
JITTER = 1e-6
STEPS = 20


def squares(a: Array, b: Array) -> Array:
    """Squared distances between rows, shape (len(a), len(b))."""
    apart = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)[None] - 2.0 * (a @ b.T)
    positive: Array = np.maximum(apart, 0.0)
    return positive


@dataclass
class KernelProcess:
    """A process with zero mean and unit prior scale; standardise rewards before.

    Attributes:
        groups: Width of every group of columns, in the order of the columns.
        logs: Logarithms of a, of each w_g and of s; None before `learn`.
    """

    groups: Sequence[int]
    logs: Array | None = None
    _rows: Array = field(init=False, repr=False)
    _lower: Array = field(init=False, repr=False)
    _alpha: Array = field(init=False, repr=False)

    def learn(self, rows: Array, rewards: Array) -> None:
        """Sets the parameters of the kernel by the rows, beginning where they stood.

        Args:
            rows: Features, shape (N, F).
            rewards: About standard normal, shape (N,).
        """
        apart = [squares(part, part) for part in self._split(rows)]
        scale = [float(d.mean()) for d in apart]
        middle = np.array(
            [0.0]
            + [np.log(0.5 / len(apart) / d) if d > 1e-9 else 0.0 for d in scale]
            + [np.log(NOISE)]
        )
        width = np.array([WIDTHS[0], *([WIDTHS[1]] * len(apart)), WIDTHS[2]])
        start = middle if self.logs is None else np.clip(self.logs, middle - REACH, middle + REACH)

        def loss(logs: Array) -> tuple[float, Array]:
            value, gradient = negative_likelihood(logs, apart, rewards)
            off = (logs - middle) / width
            return value + 0.5 * float(off @ off), gradient + off / width

        bounds = [(m - REACH, m + REACH) for m in middle]
        found: Any = minimize(
            loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": STEPS}
        )
        self.logs = np.asarray(found.x, dtype=np.float64)

    def condition(self, rows: Array, rewards: Array) -> None:
        """Remembers measured rows; the parameters stay as they are."""
        self._rows = self._scaled(rows)
        covariance = self._amplitude * np.exp(-squares(self._rows, self._rows))
        noise = self.noise + JITTER * self._amplitude
        self._lower = np.asarray(np.linalg.cholesky(covariance + noise * np.eye(len(rows))), float)
        half = solve_triangular(self._lower, rewards, lower=True, check_finite=False)
        self._alpha = solve_triangular(self._lower.T, half, lower=False, check_finite=False)

    def predict(self, rows: Array) -> tuple[Array, Array]:
        """Mean and deviation of the noiseless value, each of shape (N,) (equations 2.25, 2.26)."""
        near = self._near(rows)
        explained = self._explained(near)
        variance = self._amplitude - (explained * explained).sum(axis=0)
        return near @ self._alpha, np.sqrt(np.maximum(variance, 0.0))

    def joint(self, rows: Array) -> tuple[Array, Array]:
        """Mean (N,) and covariance (N, N) of the noiseless values."""
        near, scaled = self._near(rows), self._scaled(rows)
        explained = self._explained(near)
        covariance = self._amplitude * np.exp(-squares(scaled, scaled)) - explained.T @ explained
        return near @ self._alpha, covariance

    @property
    def noise(self) -> float:
        """Variance of a measurement around the value."""
        return float(np.exp(self._known[-1]))

    @property
    def _amplitude(self) -> float:
        return float(np.exp(self._known[0]))

    @property
    def _known(self) -> Array:
        if self.logs is None:
            raise ValueError("the parameters of the kernel were not learnt yet")
        return self.logs

    def _near(self, rows: Array) -> Array:
        near: Array = self._amplitude * np.exp(-squares(self._scaled(rows), self._rows))
        return near

    def _explained(self, near: Array) -> Array:
        solved: Array = solve_triangular(self._lower, near.T, lower=True, check_finite=False)
        return solved

    def _scaled(self, rows: Array) -> Array:
        """Features whose plain squared distance is that of the kernel."""
        roots = np.exp(0.5 * self._known[1:-1])
        scaled: Array = np.asarray(rows, dtype=np.float64) * np.repeat(roots, self.groups)
        return scaled

    def _split(self, rows: Array) -> list[Array]:
        return np.split(np.asarray(rows, dtype=np.float64), np.cumsum(self.groups)[:-1], axis=1)


def negative_likelihood(logs: Array, apart: Sequence[Array], rewards: Array) -> tuple[float, Array]:
    """−log p(rewards) but for its constant, and its gradient (equations 5.8 and 5.9).

    Args:
        logs: Logarithms of a, of each w_g and of s.
        apart: Squared distances of each group, each of shape (N, N).
        rewards: Shape (N,).
    """
    amplitude, noise = np.exp(logs[0]), np.exp(logs[-1])
    weights = np.exp(logs[1:-1])
    near = amplitude * np.exp(-sum(w * d for w, d in zip(weights, apart, strict=True)))
    eye = np.eye(len(rewards))
    lower = np.linalg.cholesky(near + (noise + JITTER * amplitude) * eye)
    root = solve_triangular(lower, eye, lower=True, check_finite=False)
    inverse = root.T @ root
    alpha = inverse @ rewards
    value = 0.5 * float(rewards @ alpha) + float(np.log(np.diag(lower)).sum())
    slope = 0.5 * (inverse - np.outer(alpha, alpha))  # of the value by the covariance
    pull = slope * near
    gradient = np.array(
        [
            pull.sum() + JITTER * amplitude * np.trace(slope),
            *(-w * (pull * d).sum() for w, d in zip(weights, apart, strict=True)),
            noise * np.trace(slope),
        ]
    )
    return value, gradient


def believers(
    process: KernelProcess, rows: Array, best: float, count: int, liar: float | None = None
) -> list[int]:
    """A batch by expected improvement, each choice conditioned on the ones before.

    Kriging believer (Ginsbourger et al. 2010): what is chosen is believed to have its predicted
    mean; constant liar: to have the value of the liar.

    Args:
        process: Conditioned on what was measured.
        rows: Features of N candidates.
        best: The value to beat.
        count: How many are chosen, at most N.
        liar: The constant; None believes the mean.

    Returns:
        Different indices, in the order in which they were chosen.
    """
    if count == 1:
        mean, deviation = process.predict(rows)
        return [int(np.argmax(expected_improvement(mean, deviation, best)))]
    mean, covariance = process.joint(rows)
    chosen: list[int] = []
    for _ in range(min(count, len(rows))):
        deviation = np.sqrt(np.maximum(np.diag(covariance), 0.0))
        worth = expected_improvement(mean, deviation, best)
        worth[chosen] = -np.inf
        pick = int(np.argmax(worth))
        chosen.append(pick)
        gain = covariance[:, pick] / (covariance[pick, pick] + process.noise + JITTER)
        if liar is not None:
            mean = mean + gain * (liar - mean[pick])
            best = max(best, liar)
        else:
            best = max(best, float(mean[pick]))
        covariance = covariance - np.outer(gain, covariance[pick])
    return chosen
