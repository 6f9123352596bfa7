"""Cells of free edges: every node chooses what it reads, as in NASNet and DARTS.

A node is the sum of two operations on two different nodes before it; the nodes side by side are the
output. What a node may read stands before it, so that no choice makes a cycle.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from emnas_gym.branched.cell import Built, Cell, Choices, Position, Prices, Site
from emnas_gym.branched.operations import convolution, lower
from emnas_gym.cost_vectors import COLUMNS, Costs, layer_costs
from emnas_gym.graph import GraphBuilder, Shape

READS = 2
Pair = tuple[int, int]
Node = tuple[Pair, Pair]  # of each of its operations: what it reads, and which one it is


@dataclass(frozen=True)
class FreeCell(Cell):
    """Nodes that read two of the inputs and nodes before them.

    Attributes:
        nodes: Number of nodes, the inputs not counted.
        operations: Names of the operations.
        inputs: Latest outputs that it reads; each passes a 1×1 convolution first.
    """

    nodes: int
    operations: tuple[str, ...]
    inputs: int = READS

    @cached_property
    def pairs(self) -> tuple[tuple[Pair, ...], ...]:
        """What each node may read: numbers of inputs, from 0, and then of nodes."""
        return tuple(
            tuple((a, b) for a, b in itertools.combinations(range(self.inputs + node), READS))
            for node in range(self.nodes)
        )

    @cached_property
    def _decisions(self) -> tuple[tuple[str, int, int], ...]:
        """Kind, node, and which operation; a node that can read one pair alone has no choice."""
        found: list[tuple[str, int, int]] = []
        for node, pairs in enumerate(self.pairs):
            found += [("reads", node, 0)] if len(pairs) > 1 else []
            found += [("operation", node, i) for i in range(READS)]
        return tuple(found)

    @cached_property
    def positions(self) -> tuple[Position, ...]:  # type: ignore[override]
        """For every node what it reads, and an operation on each."""
        return tuple(
            Position(
                f"n{node} reads", tuple("+".join(map(self._name, p)) for p in self.pairs[node])
            )
            if kind == "reads"
            else Position(f"n{node} {('first', 'second')[i]}", self.operations)
            for kind, node, i in self._decisions
        )

    def _name(self, source: int) -> str:
        return f"in{source}" if source < self.inputs else f"n{source - self.inputs}"

    def connected(self, choices: Choices) -> bool:
        """Always: what a node reads stands before it, and every node is part of the output."""
        return True

    def decode(self, choices: Choices) -> tuple[Node, ...]:
        """For each node that is decided the source and the operation of both of its edges."""
        read = {n: self.pairs[n][0] for n in range(self.nodes)}
        operations: dict[int, list[int]] = {n: [] for n in range(self.nodes)}
        for (kind, node, _), choice in zip(self._decisions, choices, strict=False):
            if kind == "reads":
                read[node] = self.pairs[node][choice]
            else:
                operations[node].append(choice)
        return tuple(
            ((read[n][0], operations[n][0]), (read[n][1], operations[n][1]))
            for n in range(self.nodes)
            if len(operations[n]) == READS
        )

    def encode(self, nodes: Sequence[Node]) -> Choices:
        """The choices of nodes, the inverse of `decode`."""
        found = []
        for kind, node, i in self._decisions:
            (a, _), (b, _) = nodes[node]
            found.append(self.pairs[node].index((a, b)) if kind == "reads" else nodes[node][i][1])
        return tuple(found)

    def canonical(self, choices: Choices) -> Choices:
        """The first of all choices that become these when nodes are renamed."""
        nodes = self.decode(choices)
        renamed = (
            self._renamed(nodes, order) for order in itertools.permutations(range(self.nodes))
        )
        return min(found for found in renamed if found is not None)

    def _renamed(self, nodes: Sequence[Node], order: Sequence[int]) -> Choices | None:
        """The choices with the nodes in another order; None if one would read a later one."""
        name = {i: i for i in range(self.inputs)}
        name |= {self.inputs + old: self.inputs + new for new, old in enumerate(order)}
        found: list[Node] = []
        for new, old in enumerate(order):
            first, second = sorted((name[source], op) for source, op in nodes[old])
            if second[0] >= self.inputs + new:
                return None
            found.append((first, second))
        return self.encode(found)

    # ---------------------------------------------------------------------------- operations

    def assemble(
        self,
        builder: GraphBuilder,
        reads: Sequence[int],
        channels: int,
        stride: int,
        choices: Choices,
    ) -> Built:
        """Puts all nodes into a graph; see `Cell.assemble`."""
        latest = builder.nodes[reads[-1]].shape
        values = []
        for source in reads:
            step = read_step(builder.nodes[source].shape, latest)
            values.append(convolution(builder, source, channels, step))
        chosen: set[int] = set()
        for node in self.decode(choices):
            count, ends = len(builder.nodes), []
            for source, op in node:
                step = stride if source < self.inputs else 1
                ends.append(lower(self.operations[op], builder, values[source], channels, step))
            chosen |= set(range(count, len(builder.nodes)))
            values.append(builder.join("add", ends))
        inputs = tuple(builder.nodes[v].shape for v in values[: self.inputs])
        shape = (-(-latest[0] // stride), -(-latest[1] // stride), channels)
        complete = len(choices) == len(self.positions)
        output = builder.join("concat", values[self.inputs :]) if complete else None
        return Built(output, Site(inputs, shape, stride), chosen)

    # --------------------------------------------------------------------------------- costs

    def prices(self, site: Site) -> dict[Hashable, Costs]:
        """Of every operation on an input and on a node."""
        prices: dict[Hashable, Costs] = {}
        for choice, name in enumerate(self.operations):
            for is_input in (True, False):
                builder = GraphBuilder(site.inputs[-1] if is_input else site.shape)
                lower(name, builder, 0, site.shape[-1], site.stride if is_input else 1)
                prices[is_input, choice] = layer_costs(builder.build())
        return prices

    def start(self) -> Pair:
        """What the first node reads."""
        return self.pairs[0][0]

    def step(
        self, state: Hashable, position: int, choice: int, prices: Prices
    ) -> tuple[Hashable, Costs] | None:
        """Decides what a node reads, or one operation."""
        assert isinstance(state, tuple)
        kind, node, i = self._decisions[position]
        if kind == "reads":
            return self.pairs[node][choice], np.zeros(COLUMNS, dtype=np.int64)
        after = state if i == 0 else self.pairs[min(node + 1, self.nodes - 1)][0]
        return after, prices[state[i] < self.inputs, choice]


def read_step(before: Shape, latest: Shape) -> int:
    """Step of the 1×1 convolution that brings an earlier output to the map of the latest one."""
    return max(-(-before[axis] // latest[axis]) for axis in (0, 1))
