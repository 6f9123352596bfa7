"""The wiring of cells whose nodes choose what they read."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from emnas_gym.branched.cell import Choices
from emnas_gym.branched.free_cell import READS, FreeCell, Node
from emnas_gym.branched.isomorphism import Edge
from emnas_gym.errors import InvalidArchitecture
from predictors.supernet.wiring import Chosen, Flags, Mask, Weights, Wiring


@dataclass(frozen=True, eq=False)
class FreeWiring(Wiring):
    """All edges that a `FreeCell` may have: from every value to every later node.

    A network keeps two a node.

    Attributes:
        cell: The cell.
    """

    cell: FreeCell

    @property
    def inputs(self) -> int:  # type: ignore[override]
        """Those of the cell."""
        return self.cell.inputs

    @cached_property
    def edges(self) -> tuple[Edge, ...]:  # type: ignore[override]
        """From every value to every later node."""
        targets = range(self.inputs, self.inputs + self.cell.nodes)
        return tuple((source, target) for target in targets for source in range(target))

    @cached_property
    def operations(self) -> tuple[tuple[str, ...], ...]:  # type: ignore[override]
        """The same on every edge."""
        return tuple(self.cell.operations for _ in self.edges)

    def _edge(self, node: int, source: int) -> int:
        return self.edges.index((source, self.inputs + node))

    def chosen(self, choices: Choices) -> tuple[Chosen, ...]:
        """Two edges of every node."""
        nodes = enumerate(self.cell.decode(choices))
        return tuple((self._edge(node, s), op) for node, ends in nodes for s, op in ends)

    def output(self) -> tuple[int, ...]:
        """All nodes."""
        return tuple(range(self.inputs, self.values))

    def live(self, computed: Mask) -> Flags:
        """See `Wiring.live`; every node has to have an edge."""
        found = self.carried(computed)
        targets = np.array(self.edges)[:, 1]
        empty = set(self.output()) - set(targets[found].tolist())
        if empty:
            raise InvalidArchitecture(f"no edge enters node {min(empty) - self.inputs} of a cell")
        return found

    def decide(self, weights: Weights) -> Choices:
        """The strongest operation of every edge, and of every node its two strongest edges.

        As DARTS does (Liu et al., 2019, section 2.4); of equal ones the first.
        """
        found = self.checked(weights)
        best, strength = found.argmax(axis=1), found.max(axis=1)
        nodes: list[Node] = []
        for node in range(self.cell.nodes):
            edges = [self._edge(node, source) for source in range(self.inputs + node)]
            order = np.argsort(-strength[edges], kind="stable")[:READS]
            first, second = sorted(order.tolist())
            nodes.append(((first, int(best[edges[first]])), (second, int(best[edges[second]]))))
        return self.cell.encode(nodes)

    def order(self, choices: Choices) -> tuple[int, ...]:
        """Nodes of the canonical network are these, renamed; see `Wiring.order`."""
        wanted = [sorted(ends) for ends in self.cell.decode(self.cell.canonical(choices))]
        nodes = self.cell.decode(choices)
        for order in itertools.permutations(range(self.cell.nodes)):
            name = self._names(order)
            if [sorted((name[s], op) for s, op in nodes[old]) for old in order] == wanted:
                return order
        raise AssertionError("a cell and its canonical form are the same graph")

    def _names(self, order: Sequence[int]) -> dict[int, int]:
        """Of every value the number that it has in the canonical network."""
        inputs = {i: i for i in range(self.inputs)}
        return inputs | {self.inputs + old: self.inputs + new for new, old in enumerate(order)}

    def matched(self, choices: Choices) -> tuple[Chosen, ...]:
        """See `Wiring.matched`."""
        order = self.order(choices)
        old = {new: old for old, new in self._names(order).items()}
        theirs = self.cell.decode(self.cell.canonical(choices))
        return tuple(
            (self._edge(order[new], old[source]), operation)
            for new, ends in enumerate(theirs)
            for source, operation in ends
        )
