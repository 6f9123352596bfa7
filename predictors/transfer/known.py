"""Latency models of the known devices: one kernel ridge regression each, on shared networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import DatasetError

Array = NDArray[np.float64]
LENGTHS = (0.5, 1.0, 2.0, 4.0)  # length scales that are tried, in units of √F
RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
LEAST = 20  # measured networks that a known device needs


@dataclass(frozen=True)
class KnownDevices:
    """What is known of some devices: log latency as a function of a network's features.

    Attributes:
        names: Names of the K devices.
        centre: Mean of every feature, shape (F,).
        scale: Deviation of every feature, shape (F,).
        rows: Standardised networks that were measured, shape (M, F).
        lengths: Length scale of every device's kernel, shape (K,).
        dual: Weight of every network for every device, shape (M, K); 0 where it was not measured.
        offset: Mean log latency of every device, shape (K,).
    """

    names: tuple[str, ...]
    centre: Array
    scale: Array
    rows: Array
    lengths: Array
    dual: Array
    offset: Array

    @classmethod
    def fit(cls, x: Array, latency_ms: Mapping[str, Array]) -> KnownDevices:
        """Fits every device on its own; length scale and ridge by exact leave-one-out.

        Args:
            x: Features of the networks, shape (M, F).
            latency_ms: Device → latency of each network, shape (M,); NaN where it cannot run.

        Raises:
            DatasetError: If there is no device, one has too few networks, or a latency is not
                above 0.
        """
        if not latency_ms:
            raise DatasetError("there is no known device: give one or more that were measured")
        centre, scale = x.mean(axis=0), x.std(axis=0)
        scale = np.where(scale > 1e-9, scale, 1.0)
        rows = (x - centre) / scale
        fitted = [_fit(rows, _logarithms(name, y, len(x))) for name, y in latency_ms.items()]
        lengths, dual, offset = zip(*fitted, strict=True)
        columns = np.stack(dual, axis=1)
        return cls(
            tuple(latency_ms), centre, scale, rows, np.array(lengths), columns, np.array(offset)
        )

    def standardised(self, x: Array) -> Array:
        """Features on the scale of the kernels, shape (N, F)."""
        return (x - self.centre) / self.scale

    def log_latency(self, x: Array) -> Array:
        """Natural logarithm of the latency in ms on every device, shape (N, K).

        Args:
            x: Features of networks, shape (N, F).
        """
        standard = self.standardised(x)
        distances, products = _geometry(standard, self.rows)
        kernels = {length: _kernel(distances, products, length) for length in set(self.lengths)}
        columns = [
            kernels[length] @ self.dual[:, k] + self.offset[k]
            for k, length in enumerate(self.lengths)
        ]
        return np.stack(columns, axis=1)

    def only(self, names: Sequence[str]) -> KnownDevices:
        """The same without all other devices, in the order of the names."""
        index = [self.names.index(name) for name in names]
        return replace(
            self,
            names=tuple(names),
            lengths=self.lengths[index],
            dual=self.dual[:, index],
            offset=self.offset[index],
        )


def _logarithms(name: str, latency_ms: Array, count: int) -> Array:
    there = ~np.isnan(latency_ms)
    if latency_ms.shape != (count,) or there.sum() < LEAST:
        raise DatasetError(f"{name}: {int(there.sum())} measured networks; {LEAST} are needed")
    if (latency_ms[there] <= 0).any():
        raise DatasetError(f"{name}: a latency is not above 0 ms; NaN stands for 'cannot run'")
    return np.log(latency_ms)


def _fit(rows: Array, logs: Array) -> tuple[float, Array, float]:
    """Length scale, dual weights of all rows, offset."""
    there = np.flatnonzero(~np.isnan(logs))
    x, offset = rows[there], float(logs[there].mean())
    y = logs[there] - offset
    distances, products = _geometry(x, x)
    best: tuple[float, float, Array] = (np.inf, 0.0, y)
    for unit in LENGTHS:
        length = unit * x.shape[1] ** 0.5
        values, vectors = np.linalg.eigh(_kernel(distances, products, length))
        for ridge in RIDGES:
            inverse = vectors / (np.maximum(values, 0.0) + ridge)
            dual = inverse @ (vectors.T @ y)
            left_out = dual / np.einsum("ij,ij->i", inverse, vectors)
            error = float((left_out**2).mean())
            if error < best[0]:
                best = (error, length, dual)
    weights = np.zeros(len(rows))
    weights[there] = best[2]
    return best[1], weights, offset


def squared_distances(a: Array, b: Array) -> Array:
    """Squared Euclidean distances of rows, shape (N, M)."""
    total: Array = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.maximum(total, 0.0)


def _geometry(a: Array, b: Array) -> tuple[Array, Array]:
    return squared_distances(a, b), a @ b.T / a.shape[1]


def _kernel(distances: Array, products: Array, length: float) -> Array:
    """A smooth part and a linear one, which goes on where nothing was measured."""
    return np.exp(-distances / (2 * length**2)) + products
