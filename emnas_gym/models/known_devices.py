"""Latency on known devices as a function of features, with which a new device is compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from emnas_gym.models.base import Array


@dataclass(frozen=True)
class KnownDevices:
    """What is known of some devices: log latency by one kernel ridge regression each.

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

    def standardised(self, x: Array) -> Array:
        """Features on the scale of the kernels, shape (N, F)."""
        return (x - self.centre) / self.scale

    def log_latency(self, x: Array) -> Array:
        """Natural logarithm of the latency in ms on every device, shape (N, K).

        Args:
            x: Features of networks, shape (N, F).
        """
        distances, products = geometry(self.standardised(x), self.rows)
        kernels = {length: kernel(distances, products, length) for length in set(self.lengths)}
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


def squared_distances(a: Array, b: Array) -> Array:
    """Squared Euclidean distances of rows, shape (N, M)."""
    total: Array = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T
    return np.maximum(total, 0.0)


def geometry(a: Array, b: Array) -> tuple[Array, Array]:
    """Squared distances and mean products of rows, each of shape (N, M)."""
    return squared_distances(a, b), a @ b.T / a.shape[1]


def kernel(distances: Array, products: Array, length: float) -> Array:
    """A smooth part and a linear one, which goes on where nothing was measured."""
    return np.exp(-distances / (2 * length**2)) + products
