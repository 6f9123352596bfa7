"""Fits the latency models of the known devices, one each, on networks that they share."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import DatasetError
from emnas_gym.models.known_devices import KnownDevices, geometry, kernel

Array = NDArray[np.float64]
LENGTHS = (0.5, 1.0, 2.0, 4.0)  # length scales that are tried, in units of √F
RIDGES = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
LEAST = 20  # measured networks that a known device needs


def fit_known(x: Array, latency_ms: Mapping[str, Array]) -> KnownDevices:
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
    return KnownDevices(
        tuple(latency_ms), centre, scale, rows, np.array(lengths), columns, np.array(offset)
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
    distances, products = geometry(x, x)
    best: tuple[float, float, Array] = (np.inf, 0.0, y)
    for unit in LENGTHS:
        length = unit * x.shape[1] ** 0.5
        values, vectors = np.linalg.eigh(kernel(distances, products, length))
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
