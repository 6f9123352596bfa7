"""Latency on a new device: a Gaussian process around the known devices, after a few samples.

The logarithm of the new latency is (universal kriging, Cressie 1993)

    log y(x) = c + Σ_k w_k z_k(x) + r(x) + noise

with z_k the known devices' predicted log latencies, weights w around a prior, r a smooth residual
in the features, and a constant c without a prior.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import SurrogateFileError
from emnas_gym.models.base import Array, FittedModel, check_shape, finite
from emnas_gym.models.known_devices import KnownDevices, squared_distances

CENTRES = ("nothing", "nearest", "mean")
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

    def predict(self, z: Array, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the log latency, each of shape (N,).

        Args:
            z: Log latency on the known devices, shape (N, K).
            x: Standardised features, shape (N, F).
        """
        known = z - self.middle
        cross = covariance(known, x, self.samples_z, self.samples_x, self.spread, self.prior)
        mean = self.constant + known @ self.expected + cross @ self.samples_dual
        lacking = 1.0 - (cross @ self.inverse).sum(axis=1)
        own = (known**2) @ self.spread**2 + self.prior.residual**2
        own = own + self.prior.slope**2 * (x**2).mean(axis=1)
        explained = np.einsum("ij,jk,ik->i", cross, self.inverse, cross)
        variance = own - explained + lacking**2 / self.inverse.sum()
        return mean, np.sqrt(np.maximum(variance, 0.0))


def covariance(z: Array, x: Array, to_z: Array, to_x: Array, spread: Array, prior: Prior) -> Array:
    """Prior covariance of log latencies, shape (N, n).

    Args:
        z: Log latency on the known devices around the samples' mean, shape (N, K).
        x: Standardised features, shape (N, F).
        to_z: The same of the other networks, shape (n, K).
        to_x: The same of the other networks, shape (n, F).
        spread: Prior deviation of each weight, shape (K,).
        prior: Size and length of the residual.
    """
    length = prior.length * x.shape[1] ** 0.5
    smooth = np.exp(-squared_distances(x, to_x) / (2 * length**2))
    total: Array = (z * spread**2) @ to_z.T + prior.residual**2 * smooth
    total += prior.slope**2 * (x @ to_x.T) / x.shape[1]
    return total


class AdaptedModel(FittedModel):
    """Latency of a new device in ms, from the models of known ones.

    Args:
        known: Models of the known devices.
        process: What the samples of the new device taught.
    """

    kind: ClassVar[str] = "adapted"
    reads: ClassVar[str] = "kind_sums"

    def __init__(self, known: KnownDevices, process: Process) -> None:
        self.known, self.process = known, process

    @property
    def columns(self) -> int:
        """Number of features that the known devices read."""
        return len(self.known.centre)

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
        return {"devices": list(self.known.names), "prior": dict(vars(self.process.prior))}

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
