"""Adapts a latency predictor to a new device: an estimator, and the model that it leaves behind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from itertools import product
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import DatasetError, SurrogateFileError, UnknownName
from emnas_gym.models.base import FittedModel, check_shape, finite
from predictors.estimators.base import Estimator
from predictors.transfer.known import KnownDevices
from predictors.transfer.kriging import (
    CENTRES,
    LINEAR,
    SCALED,
    SCRATCH,
    Prior,
    Process,
    likelihood,
)

Array = NDArray[np.float64]
LEAST = 3  # measured networks that an adaptation needs
METHODS = ("scratch", "scaled", "linear", "weighted")
KNOWN = ("centre", "scale", "rows", "lengths", "dual", "offset")
PROCESS = (
    "expected",
    "spread",
    "middle",
    "samples_z",
    "samples_x",
    "inverse",
    "samples_dual",
    "constant",
)
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


class AdaptedModel(FittedModel):
    """Latency of a new device in ms, from the models of known ones; reads features.

    Args:
        known: Models of the known devices.
        process: What the samples of the new device taught.
    """

    kind: ClassVar[str] = "adapted-latency"
    reads: ClassVar[str] = "features"

    def __init__(self, known: KnownDevices, process: Process) -> None:
        self.known, self.process = known, process

    def predict(self, x: Any) -> tuple[Array, Array]:  # noqa: ANN401
        """Latency in ms and its standard deviation, each of shape (N,).

        Args:
            x: Features, shape (N, F).
        """
        mean, deviation = self.process.predict(
            self.known.log_latency(x), self.known.standardised(x)
        )
        return np.exp(mean), np.exp(mean) * deviation

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Both parts in float64: a constant without prior loses digits in float32."""
        return {name: np.asarray(getattr(self.known, name)) for name in KNOWN} | {
            name: np.asarray(getattr(self.process, name)) for name in PROCESS
        }

    def options(self) -> dict[str, Any]:
        """Names of the known devices, and the prior."""
        return {"devices": list(self.known.names), "prior": vars(self.process.prior)}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], options: Mapping[str, Any]) -> Self:
        """Makes the model of what was read from a file.

        Raises:
            SurrogateFileError: If parts are missing or do not fit together.
        """
        values = finite(arrays, [*KNOWN, *PROCESS])
        prior, names = _checked(options)
        m, f = values["rows"].shape if values["rows"].ndim == 2 else (0, 0)
        n, k = values["samples_dual"].size, len(names)
        shapes = {"centre": (f,), "scale": (f,), "rows": (m, f), "lengths": (k,), "dual": (m, k)}
        shapes |= {"offset": (k,), "expected": (k,), "spread": (k,), "middle": (k,)}
        shapes |= {"samples_z": (n, k), "samples_x": (n, f), "inverse": (n, n)}
        shapes |= {"samples_dual": (n,), "constant": ()}
        for name, shape in shapes.items():
            check_shape(values, name, shape)
        if not m or not (values["scale"] > 0).all() or not (values["lengths"] > 0).all():
            raise SurrogateFileError("rows are missing, or a scale or length is not above 0")
        known = KnownDevices(names=names, **{name: values[name] for name in KNOWN})
        parts: dict[str, Any] = {name: values[name] for name in PROCESS}
        parts["constant"] = float(parts["constant"])
        return cls(known, Process(**parts, prior=prior))


def _checked(options: Mapping[str, Any]) -> tuple[Prior, tuple[str, ...]]:
    """Prior and names of devices from a file."""
    names, prior = options.get("devices"), options.get("prior")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SurrogateFileError("devices is a list of names")
    kinds = {f.name: type(f.default) for f in fields(Prior)}
    if not isinstance(prior, dict) or {n: type(v) for n, v in prior.items()} != kinds:
        raise SurrogateFileError(f"prior is a table of {', '.join(kinds)}")
    numbers = [value for value in prior.values() if isinstance(value, float)]
    if prior["centre"] not in CENTRES or not all(np.isfinite(v) and v >= 0 for v in numbers):
        raise SurrogateFileError(f"prior {prior} is none")
    if prior["length"] == 0:
        raise SurrogateFileError("length is not above 0")
    return Prior(**prior), tuple(names)


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
        return Process.after(z, x, log_y, best)
    chosen = {"scaled": SCALED, "linear": LINEAR, "weighted": prior or Prior()}[method]
    return Process.after(z, x, log_y, chosen)


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
            process = Process.after(z[few], x[few], log_y[few], prior)
            errors[i] += np.abs(process.predict(z[rest], x[rest])[0] - log_y[rest]).mean()
    return errors
