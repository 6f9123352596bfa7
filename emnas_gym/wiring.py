"""The graph behind the positions of a table: which nodes an operation joins, and live paths.

In a cell such as NAS-Bench-201's an operation stands on an edge. One of the operations is "no
edge"; what lies on no way from the input to the output then computes nothing. A table may say so;
agents and predictors read from it which choices matter, and nothing about which are good.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import TableFileError

MAX_NODES, MAX_WAYS = 64, 1024


@dataclass(frozen=True)
class Wiring:
    """Edges between numbered nodes; the least number is the input, the largest the output.

    Attributes:
        edges: (source, target) of every position, in the order of the table; source < target.
        dead: Name of the operation that is no edge.

    Raises:
        TableFileError: If an edge does not lead forwards, no way leads to the output, or there are
            over `MAX_WAYS` ways.
    """

    edges: tuple[tuple[int, int], ...]
    dead: str

    def __post_init__(self) -> None:
        """Checks the edges."""
        for source, target in self.edges:
            if not 0 <= source < target < MAX_NODES:
                raise TableFileError(
                    f"graph: edge {source} → {target}: nodes are 0 to {MAX_NODES - 1}, and an edge "
                    "leads to a larger one"
                )
        ways = self._count()
        if not 1 <= ways <= MAX_WAYS:
            raise TableFileError(f"graph: {ways:,} ways lead to the output, not 1 to {MAX_WAYS:,}")

    @property
    def _ends(self) -> tuple[int, int]:
        nodes = [node for edge in self.edges for node in edge]
        return min(nodes, default=0), max(nodes, default=0)

    def _count(self) -> int:
        """Number of ways, without listing them."""
        first, last = self._ends
        ways = {first: 1}
        for source, target in sorted(self.edges):
            ways[target] = ways.get(target, 0) + ways.get(source, 0)
        return ways.get(last, 0) if self.edges else 0

    @cached_property
    def ways(self) -> tuple[tuple[int, ...], ...]:
        """Positions along every way from the input to the output, the short ones first."""
        first, last = self._ends
        useful = {last}  # from which the output is reached: what leads nowhere is not followed
        for source, target in sorted(self.edges, reverse=True):
            useful |= {source} if target in useful else set()
        found: list[tuple[int, ...]] = []
        open_: list[tuple[tuple[int, ...], int]] = [((), first)]
        while open_:
            way, node = open_.pop()
            if node == last:
                found.append(way)
                continue
            for position, (source, target) in enumerate(self.edges):
                if source == node and target in useful:
                    open_.append(((*way, position), target))
        return tuple(sorted(found, key=lambda way: (len(way), way)))

    def live(self, dead: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which positions lie on a way from input to output without a dead operation.

        Args:
            dead: Where the dead operation stands, shape (N, positions).

        Returns:
            Shape (N, positions).
        """
        live = np.zeros_like(dead)
        for way in self.ways:
            blocked = dead[:, way].any(axis=1, keepdims=True)
            live[:, way] |= ~blocked
        return live

    def to_json(self, positions: tuple[str, ...]) -> Mapping[str, object]:
        """What stands in a file's header under ``graph``."""
        edges = {p: list(edge) for p, edge in zip(positions, self.edges, strict=True)}
        return {"edges": edges, "dead": self.dead}
