"""The wiring of cells of fixed edges."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emnas_gym.branched.cell import Choices
from emnas_gym.branched.edge_cell import EdgeCell, live_edges
from emnas_gym.branched.isomorphism import Edge, Labelled, simplified
from emnas_gym.errors import InvalidArchitecture
from predictors.supernet.wiring import Chosen, Flags, Mask, Weights, Wiring


@dataclass(frozen=True, eq=False)
class EdgeWiring(Wiring):
    """The edges of an `EdgeCell`.

    Attributes:
        cell: The cell.
    """

    cell: EdgeCell
    inputs = 1

    @property
    def edges(self) -> tuple[Edge, ...]:  # type: ignore[override]
        """Those of the cell."""
        return self.cell.edges

    @property
    def operations(self) -> tuple[tuple[str, ...], ...]:  # type: ignore[override]
        """Those of the cell."""
        return self.cell.operations

    def chosen(self, choices: Choices) -> tuple[Chosen, ...]:
        """Every edge has its choice."""
        return tuple(enumerate(choices))

    def running(self, choices: Choices) -> tuple[Chosen, ...]:
        """Those on edges that lie on a way from the input to the output."""
        live = self.cell.live(choices)
        return tuple((edge, operation) for edge, operation in enumerate(choices) if live[edge])

    def output(self) -> tuple[int, ...]:
        """The last node."""
        return (self.cell.last,)

    def live(self, computed: Mask) -> Flags:
        """See `Wiring.live`."""
        there = self.carried(computed).tolist()
        found = np.array(live_edges(self.edges, there), dtype=np.bool_)
        if not found.any():
            raise InvalidArchitecture(
                "no way leads from the input of a cell to its output: too many edges are none"
            )
        return found

    def decide(self, weights: Weights) -> Choices:
        """The strongest operation of every edge, and of ``none`` no more than connects the output.

        Where the strongest ones are disconnected, the network is the one of largest product of
        weights among those that are not: some edges of one way from input to output have their
        second best.
        """
        found = self.checked(weights)
        best, other = found.argmax(axis=1), np.where(self.carrying, found, -np.inf).argmax(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            loss = (
                np.log(found.max(axis=1))
                - np.log(np.take_along_axis(found, other[:, None], 1))[:, 0]
            )
        has = self.carried(self.offered)
        loss = np.where(has, np.where(self.carrying[np.arange(len(best)), best], 0, loss), np.inf)
        for edge in self._way(np.nan_to_num(loss, nan=np.inf, posinf=np.inf)):
            best[edge] = other[edge]
        return tuple(best.tolist())

    def _way(self, loss: NDArray[np.float64]) -> list[int]:
        """Edges of the way from input to output that loses least."""
        least = {0: (0.0, [])}  # type: dict[int, tuple[float, list[int]]]
        for edge, (source, target) in enumerate(self.edges):
            if source in least:
                before, way = least[source]
                after = before + float(loss[edge])
                if target not in least or after < least[target][0]:
                    least[target] = after, [*way, edge]
        total, way = least[self.cell.last]
        if not np.isfinite(total):
            raise InvalidArchitecture(
                "every way from input to output has an edge on which none alone weighs anything"
            )
        return way

    def matched(self, choices: Choices) -> tuple[Chosen, ...]:
        """See `Wiring.matched`."""
        canonical = self.cell.canonical(choices)
        mine, theirs = simplified(self.cell, choices), simplified(self.cell, canonical)
        partner = _same_graph(mine, theirs, self.cell.last)
        return tuple((partner[i], choices[partner[i]]) for i, _ in theirs)


def _same_graph(
    mine: Sequence[tuple[int, Labelled]], theirs: Sequence[tuple[int, Labelled]], last: int
) -> dict[int, int]:
    """For every edge of one simplified cell the edge of an equal one that is the same to it."""
    inner = [sorted({v for _, e in edges for v in e[:2]} - {0, last}) for edges in (mine, theirs)]
    wanted = sorted(edge for _, edge in theirs)
    for order in itertools.permutations(inner[1]):
        name = dict(zip(inner[0], order, strict=True)) | {0: 0, last: last}
        renamed = [(i, (name[a], name[b], op)) for i, (a, b, op) in mine]
        if sorted(edge for _, edge in renamed) == wanted:
            places: dict[Labelled, list[int]] = {}
            for i, edge in renamed:
                places.setdefault(edge, []).append(i)
            return {i: places[edge].pop(0) for i, edge in theirs}
    raise AssertionError("a cell and its canonical form are the same graph")
