"""Cells of fixed edges with an operation on each, as in NAS-Bench-201 and LENNA's block."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from emnas_gym.branched.cell import Built, Cell, Choices, Position, Prices, Site
from emnas_gym.branched.isomorphism import Edge, canonical_choices
from emnas_gym.branched.operations import NONE, lower
from emnas_gym.cost_vectors import COLUMNS, Costs, join_costs, layer_costs
from emnas_gym.errors import InvalidArchitecture
from emnas_gym.graph import GraphBuilder

ADD = "add"  # the price of one more edge into a node


class Pending(NamedTuple):
    """A node that is reached, of which nobody knows yet whether it leads to the output.

    Attributes:
        node: Its number.
        costs: What its edges cost.
        sources: Nodes of the same kind that it reads.
    """

    node: int
    costs: tuple[int, ...]
    sources: frozenset[int]


class Growth(NamedTuple):
    """What of the edges so far matters for those to come.

    Attributes:
        reached: Nodes that the input reaches, as far as edges may still read or enter them.
        pending: Nodes that are not paid for, in ascending order.
    """

    reached: frozenset[int]
    pending: tuple[Pending, ...]


@dataclass(frozen=True)
class EdgeCell(Cell):
    """A node is the sum of its edges; the first node is the input, the last the output.

    A node with one edge is that edge. An edge lives if the input reaches it and it leads to the
    output; dead edges and the nodes between them are no part of the network and cost nothing.

    Attributes:
        edges: (source, target) of every position, sorted by target; source < target.
        operations: Names of the operations of every edge.
        reduces: Whether its first operations change the shape anywhere; ``skip`` of the input is
            an operation then.
    """

    edges: tuple[Edge, ...]
    operations: tuple[tuple[str, ...], ...]
    reduces: bool = False
    inputs = 1

    @cached_property
    def positions(self) -> tuple[Position, ...]:  # type: ignore[override]
        """One for every edge."""
        pairs = zip(self.edges, self.operations, strict=True)
        return tuple(Position(f"{source}→{target}", names) for (source, target), names in pairs)

    @property
    def last(self) -> int:
        """The output."""
        return self.edges[-1][1]

    def live(self, choices: Choices) -> tuple[bool, ...]:
        """Which edges lie on a way from the input to the output."""
        there = [n[c] != NONE for n, c in zip(self.operations, choices, strict=True)]
        return live_edges(self.edges, there)

    def _reached(self, choices: Choices) -> tuple[bool, ...]:
        """Which of the edges so far the input reaches; none of those to come."""
        reached, found = {0}, [False] * len(self.edges)
        for i, choice in enumerate(choices):
            source, target = self.edges[i]
            found[i] = self.operations[i][choice] != NONE and source in reached
            reached |= {target} if found[i] else set()
        return tuple(found)

    def connected(self, choices: Choices) -> bool:
        """Whether a way leads from the input to the output."""
        return any(self.live(choices))

    def canonical(self, choices: Choices) -> Choices:
        """The choices that stand for all cells of the same graph (`isomorphism`)."""
        return canonical_choices(self, choices)

    # ---------------------------------------------------------------------------- operations

    def assemble(
        self,
        builder: GraphBuilder,
        reads: Sequence[int],
        channels: int,
        stride: int,
        choices: Choices,
    ) -> Built:
        """Puts the live edges into a graph; see `Cell.assemble`."""
        complete = len(choices) == len(self.edges)
        live = self.live(choices) if complete else self._reached(choices)
        if complete and not any(live):
            raise InvalidArchitecture("no way leads from the input of the cell to its output")
        value, chosen = {0: reads[-1]}, len(builder.nodes)
        for node in range(1, self.last + 1):
            ends = [
                self._edge(builder, i, choices[i], value, channels, stride)
                for i, (_, target) in enumerate(self.edges)
                if live[i] and target == node
            ]
            if ends:
                value[node] = ends[0] if len(ends) == 1 else builder.join("add", ends)
        before = builder.nodes[reads[-1]].shape
        shape = (-(-before[0] // stride), -(-before[1] // stride), channels)
        site = Site((before,), shape, stride)
        output = value[self.last] if complete else None
        return Built(output, site, set(range(chosen, len(builder.nodes))))

    def _edge(
        self,
        builder: GraphBuilder,
        edge: int,
        choice: int,
        value: dict[int, int],
        channels: int,
        stride: int,
    ) -> int:
        source = self.edges[edge][0]
        name = self.operations[edge][choice]
        return lower(name, builder, value[source], channels, 1 if source else stride)

    # --------------------------------------------------------------------------------- costs

    def prices(self, site: Site) -> dict[Hashable, Costs]:
        """Of every operation on every edge, and of one more edge into a node."""
        builder = GraphBuilder(site.shape)
        builder.join("add", (0, 0))
        prices: dict[Hashable, Costs] = {ADD: layer_costs(builder.build())}
        known: dict[tuple[str, bool], Costs] = {}
        for edge, ((source, _), names) in enumerate(zip(self.edges, self.operations, strict=True)):
            for choice, name in enumerate(names):
                if name != NONE:
                    key = (name, source == 0)
                    known[key] = known[key] if key in known else _price(name, site, source == 0)
                    prices[edge, choice] = known[key]
        return prices

    @cached_property
    def _certain(self) -> frozenset[int]:
        """Nodes that lead to the output whatever is chosen, once they are reached."""
        certain = {self.last}
        for (source, target), names in zip(self.edges[::-1], self.operations[::-1], strict=True):
            if target in certain and NONE not in names:
                certain.add(source)
        return frozenset(certain)

    @cached_property
    def _left_by(self) -> dict[int, int]:
        """The last position at which an edge leaves a node."""
        return {source: i for i, (source, _) in enumerate(self.edges)}

    def start(self) -> Growth:
        """Only the input is reached."""
        return Growth(frozenset({0}), ())

    def step(
        self, state: Hashable, position: int, choice: int, prices: Prices
    ) -> tuple[Hashable, Costs] | None:
        """Decides one edge; edges are charged once it is certain that they live."""
        assert isinstance(state, Growth)
        source, target = self.edges[position]
        reached, pending = set(state.reached), {p.node: p for p in state.pending}
        costs = np.zeros(COLUMNS, dtype=np.int64)
        if self.operations[position][choice] != NONE and source in reached:
            costs = prices[position, choice]
            costs = join_costs(costs, prices[ADD]) if target in reached else costs
            if target in self._certain:
                costs = _paid(costs, source, pending)
            else:
                _put(pending, target, costs, source)
                costs = np.zeros(COLUMNS, dtype=np.int64)
            reached.add(target)
        if position == len(self.edges) - 1 and self.last not in reached:
            return None
        return self._kept(position, reached, pending), costs

    def _kept(self, position: int, reached: set[int], pending: dict[int, Pending]) -> Growth:
        """Forgets nodes that no edge to come reads and no unpaid node has read."""
        open_ = {v for v in reached if v == self.last or self._left_by.get(v, -1) > position}
        for node in sorted(pending, reverse=True):
            read = any(node in p.sources for p in pending.values())
            if node not in open_ and not read and self._left_by.get(node, -1) <= position:
                del pending[node]
        there = frozenset(pending)
        left = (p._replace(sources=p.sources & there) for p in pending.values())
        return Growth(frozenset(open_), tuple(sorted(left, key=lambda p: p.node)))


def _put(pending: dict[int, Pending], node: int, costs: Costs, source: int) -> None:
    """One more edge into a node that is not paid for."""
    sources = frozenset({source}) if source in pending else frozenset()
    if node in pending:
        before = pending[node]
        costs = join_costs(np.array(before.costs, dtype=np.int64), costs)
        sources |= before.sources
    pending[node] = Pending(node, tuple(costs.tolist()), sources)


def _paid(costs: Costs, node: int, pending: dict[int, Pending]) -> Costs:
    """Costs with those of a node and all that it reads, which are paid for from now on."""
    if node not in pending:
        return costs
    found = pending.pop(node)
    costs = join_costs(costs, np.array(found.costs, dtype=np.int64))
    for source in sorted(found.sources):
        costs = _paid(costs, source, pending)
    return costs


def _price(name: str, site: Site, is_first: bool) -> Costs:
    builder = GraphBuilder(site.inputs[-1] if is_first else site.shape)
    lower(name, builder, 0, site.shape[-1], site.stride if is_first else 1)
    return layer_costs(builder.build())


def live_edges(edges: Sequence[Edge], there: Sequence[bool]) -> tuple[bool, ...]:
    """Which edges lie on a way from node 0 to the last node.

    Args:
        edges: Pairs (source, target), sorted by target.
        there: Which of them carry anything.
    """
    reached, useful = {0}, {edges[-1][1]}
    for (source, target), is_edge in zip(edges, there, strict=True):
        reached |= {target} if is_edge and source in reached else set()
    for (source, target), is_edge in zip(edges[::-1], there[::-1], strict=True):
        useful |= {source} if is_edge and target in useful else set()
    return tuple(
        is_edge and source in reached and target in useful
        for (source, target), is_edge in zip(edges, there, strict=True)
    )
