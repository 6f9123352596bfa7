"""Adapts a latency predictor to a new device: an estimator, and what its prior is learned from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import DatasetError, UnknownName
from emnas_gym.models.adapted import AdaptedModel, Prior, Process
from emnas_gym.models.known_devices import KnownDevices
from predictors.estimators.base import Estimator
from predictors.transfer.kriging import LINEAR, SCALED, SCRATCH, condition, likelihood

Array = NDArray[np.float64]
LEAST = 3  # measured networks that an adaptation needs
METHODS = ("scratch", "scaled", "linear", "weighted")
CHOSEN = "chosen"  # by the samples themselves, each left out in turn, among these:
CHOSEN_AMONG = ("scaled", "linear", "weighted")
SCRATCHES = [  # of which the samples themselves choose
    replace(SCRATCH, residual=r, slope=s, length=ell, noise=e)
    for r, s, ell, e in product((0.1, 0.5), (0.0, 0.3, 1.0), (0.5, 1.5), (0.01, 0.05, 0.2))
]
PRIORS = [  # of which the known devices choose
    Prior(centre, weights, False, residual, 0.0, 1.0, noise)
    for centre, weights, residual, noise in product(
        ("nearest", "mean"), (0.1, 0.3, 1.0), (0.0, 0.1, 0.3), (0.02, 0.1)
    )
]


class AdaptedLatency(Estimator):
    """Latency of a new device from a few measurements and from known devices.

    Args:
        known: Models of the known devices.
        method: ``"scratch"`` (the samples alone), ``"scaled"`` (the nearest device, times a
            factor), ``"linear"`` (a line on it, in logarithms) or ``"weighted"`` (all of them,
            and a residual).
        prior: Prior of ``"weighted"``, e.g. from `learned_prior`.
    """

    def __init__(
        self, known: KnownDevices, method: str = "weighted", prior: Prior | None = None
    ) -> None:
        self.known = known
        self.method = method
        self.prior = prior

    def fit(self, x: Any, y: Any) -> Self:  # noqa: ANN401
        """Adapts to the samples.

        Args:
            x: Features of the samples, shape (n, F), as the known devices read them.
            y: Latency in ms, shape (n,), above 0.

        Raises:
            DatasetError: If there are fewer than three samples, or a latency is not above 0.
            UnknownName: If there is no such method.
        """
        x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
        if x.ndim != 2 or y.shape != (len(x),) or len(x) < LEAST:
            raise DatasetError(f"{LEAST} samples or more are needed, not {x.shape} and {y.shape}")
        if x.shape[1] != len(self.known.centre):
            raise DatasetError(f"{x.shape[1]} features instead of {len(self.known.centre)}")
        if not np.isfinite(x).all() or not np.isfinite(y).all() or (y <= 0).any():
            raise DatasetError("features are finite, and latencies above 0 ms; leave out the rest")
        z, standard = self.known.log_latency(x), self.known.standardised(x)
        process = adapt_process(self.method, z, standard, np.log(y), self.prior)
        self.model_ = AdaptedModel(self.known, process)
        return self


def adapt_process(
    method: str, z: Array, x: Array, log_y: Array, prior: Prior | None = None
) -> Process:
    """The process of a method after the samples.

    Args:
        method: One of `METHODS`.
        z: Log latency of the samples on the known devices, shape (n, K).
        x: Standardised features of the samples, shape (n, F).
        log_y: Log latency of the samples on the new device, shape (n,).
        prior: Of ``"weighted"``.

    Raises:
        UnknownName: If there is no such method.
    """
    if method not in METHODS:
        raise UnknownName("method", method, METHODS)
    if method == "scratch":
        best = max(SCRATCHES, key=lambda option: likelihood(z, x, log_y, option))
        return condition(z, x, log_y, best)
    chosen = {"scaled": SCALED, "linear": LINEAR, "weighted": prior or Prior()}[method]
    return condition(z, x, log_y, chosen)


def left_out(method: str, z: Array, x: Array, log_y: Array, prior: Prior | None = None) -> Array:
    """Log latency of every sample by the process of a method after the others, shape (n,).

    Arguments and errors as those of `adapt_process`.
    """
    found = np.empty(len(log_y))
    for i in range(len(log_y)):
        others = np.arange(len(log_y)) != i
        process = adapt_process(method, z[others], x[others], log_y[others], prior)
        found[i] = process.predict(z[[i]], x[[i]])[0][0]
    return found


def least_off(left_out_logs: Mapping[str, Array], log_y: Array) -> str:
    """Of the methods that learn from known devices the one least off in logarithms.

    Which is best depends on how like a known device the new one is.

    Args:
        left_out_logs: Method → what `left_out` answers; `CHOSEN_AMONG` at least.
        log_y: Log latency of the samples, shape (n,).
    """
    return min(CHOSEN_AMONG, key=lambda method: np.abs(left_out_logs[method] - log_y).mean())


def adapt(
    known: KnownDevices,
    new_networks: Array,
    new_latency_ms: Array,
    method: str = "weighted",
    prior: Prior | None = None,
) -> AdaptedLatency:
    """Adapts a latency predictor to a new device.

    Args:
        known: Models of the known devices.
        new_networks: Features of the networks measured on the new device, shape (n, F).
        new_latency_ms: What was measured, shape (n,).
        method: One of `METHODS`.
        prior: Of ``"weighted"``; see `learned_prior`.

    Raises:
        DatasetError: If the samples cannot be used.
    """
    return AdaptedLatency(known, method, prior).fit(new_networks, new_latency_ms)


def learned_prior(
    known: KnownDevices, x: Array, latency_ms: Mapping[str, Array], count: int, seed: int = 0
) -> Prior:
    """The prior by which known devices, each held out in turn, are best learned from the others.

    Nothing of the new device goes in; this is what is learned about learning.

    Args:
        known: Models of the known devices.
        x: Features of networks that they measured, shape (M, F).
        latency_ms: Device → what was measured, shape (M,); NaN where it cannot run.
        count: Samples that a new device will have.
        seed: Decides which samples are drawn.
    """
    if len(known.names) < 2:
        return Prior()
    z, standard = known.log_latency(x), known.standardised(x)
    total = np.zeros(len(PRIORS))
    for k, device in enumerate(known.names):
        others = np.delete(z, k, axis=1)
        total += _trial_errors(others, standard, np.log(latency_ms[device]), count, seed)
    return PRIORS[int(np.argmin(total))]


TRIALS, JUDGED = 3, 100  # draws of samples for each known device, and networks they are judged by


def _trial_errors(z: Array, x: Array, log_y: Array, count: int, seed: int) -> Array:
    """Mean absolute error in logarithms of every prior in `PRIORS`."""
    there, rng = np.flatnonzero(~np.isnan(log_y)), np.random.default_rng(seed)
    errors = np.zeros(len(PRIORS))
    for _ in range(TRIALS):
        rows = rng.permutation(there)[: count + JUDGED]
        few, rest = rows[:count], rows[count:]
        for i, prior in enumerate(PRIORS):
            process = condition(z[few], x[few], log_y[few], prior)
            errors[i] += np.abs(process.predict(z[rest], x[rest])[0] - log_y[rest]).mean()
    return errors
