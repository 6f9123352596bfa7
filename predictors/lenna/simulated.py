"""A device whose law is known: operations add up, but for pairs that it fuses, and noise.

On serial execution the latency of a block is linear in its probabilities, so that whatever learns
from this device can be held against the truth (`SimulatedDevice.expected_us`). With fusion a pool
or an identity that follows a convolution takes less time, which no sum over edges can tell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import DatasetError
from predictors.lenna.gates import Array, Gates

Edges = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Noise:
    """How times differ from what the law says, each factor for itself.

    Attributes:
        spread: Standard deviation of the logarithm of a time; its median is the law's.
        spikes: Share of times in which something else ran.
        height: Factor of these.
    """

    spread: float = 0.0
    spikes: float = 0.0
    height: float = 10.0


QUIET = Noise()


@dataclass(frozen=True)
class Fusion:
    """Pairs of operations that take less time than both alone.

    Attributes:
        first: Names of the operations that others are fused into, such as convolutions.
        second: Names of those that are fused: pools, identities.
        saving: Share of the second one's time that is saved, 0 to 1. Where several edges end at
            the node at which it begins, each of them that has a ``first`` saves an equal part.
    """

    first: frozenset[str] = frozenset()
    second: frozenset[str] = frozenset()
    saving: float = 0.0


SERIAL = Fusion()


class SimulatedDevice:
    """Times blocks of one type and width.

    Args:
        operations: Names, in the order of the table's columns.
        edges: (from, to) of each edge, in the order of the table's rows.
        table_us: What each operation takes on each edge, shape (edges, operations); not a number
            where an edge has no such operation.
        fusion: Which pairs take less.
        noise: How times differ from the law.

    Raises:
        DatasetError: If the table does not fit names and edges, or has a time that is not positive.
    """

    def __init__(
        self,
        operations: Sequence[str],
        edges: Edges,
        table_us: Array,
        fusion: Fusion = SERIAL,
        noise: Noise = QUIET,
    ) -> None:
        table = np.asarray(table_us, dtype=np.float64)
        if table.shape != (len(edges), len(operations)):
            raise DatasetError(
                f"a table of {len(edges)} edges and {len(operations)} operations "
                f"has not the shape {table.shape}"
            )
        if (table <= 0).any() or np.isinf(table).any() or np.isnan(table).all(axis=1).any():
            raise DatasetError("every edge has operations, and each of them a time above 0")
        self.operations, self.edges, self.fusion, self.noise = operations, edges, fusion, noise
        self.table_us: Array = table

    @property
    def offered(self) -> NDArray[np.bool_]:
        """Which operations an edge has, shape (edges, operations)."""
        return ~np.isnan(self.table_us)

    def latency_us(self, gates: Gates) -> Array:
        """What the law says, without noise.

        Args:
            gates: Index of each edge's operation, shape (resets, edges).

        Returns:
            Microseconds, shape (resets,).

        Raises:
            DatasetError: If an edge has no such operation.
        """
        alone = np.take_along_axis(self.table_us[None], gates[:, :, None], axis=2)[:, :, 0]
        if np.isnan(alone).any():
            raise DatasetError("gates choose an operation that its edge has not")
        shares = self._is_first[gates] @ self._before.T
        total: Array = (alone * (1.0 - self.fusion.saving * self._is_second[gates] * shares)).sum(1)
        return total

    def expected_us(self, probabilities: Array) -> float:
        """The mean of `latency_us` over gates drawn from probabilities, in closed form.

        Edges are independent, so that a pair is as likely as the product of both.

        Args:
            probabilities: Shape (edges, operations), 0 where an edge has no such operation.
        """
        weighted = probabilities * np.nan_to_num(self.table_us)
        shares = self._before @ (probabilities @ self._is_first)
        saved = self.fusion.saving * (weighted @ self._is_second) * shares
        return float(weighted.sum() - saved.sum())

    def times_us(self, gates: Gates, forwards: int, rng: np.random.Generator) -> Array:
        """Measured times: each reset of the gates is run several times.

        Args:
            gates: Index of each edge's operation, shape (resets, edges).
            forwards: Runs of each.
            rng: Where noise comes from.

        Returns:
            Microseconds, shape (resets, forwards).
        """
        shape = len(gates), forwards
        factors = np.exp(rng.normal(0.0, self.noise.spread, shape))
        spiked = rng.random(shape) < self.noise.spikes
        times: Array = self.latency_us(gates)[:, None] * factors
        return np.where(spiked, times * self.noise.height, times)

    @cached_property
    def _is_first(self) -> Array:
        return np.array([name in self.fusion.first for name in self.operations], dtype=np.float64)

    @cached_property
    def _is_second(self) -> Array:
        return np.array([name in self.fusion.second for name in self.operations], dtype=np.float64)

    @cached_property
    def _before(self) -> Array:
        """Part of each edge that another one precedes: rows sum to 1, or 0 at the block's input."""
        follows = np.array([[a[0] == b[1] for b in self.edges] for a in self.edges], np.float64)
        ends: Array = np.maximum(follows.sum(axis=1, keepdims=True), 1.0)
        return follows / ends
