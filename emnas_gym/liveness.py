"""Which activations of a graph are alive, told from the set of operations that were executed.

Sets of nodes are the bits of an integer: bit i is node i.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import reduce
from operator import or_

from emnas_gym.graph import LayerGraph
from emnas_gym.memory import align, scratch_bytes


class Lives:
    """What a graph's activations take, and until when.

    Args:
        graph: A deployed graph.
        bytes_per_element: 1 for int8, 4 for float32.

    Attributes:
        size: Bytes of each node's output.
        extra: Bytes of each node's output and scratch.
        inputs: The different nodes that each node reads.
        needed: Set of the nodes that must be executed before each node; for the output all others.
        readers: Set of the nodes that read each node.
        alone: Bytes that each node needs in whatever order: inputs, output and scratch.
    """

    def __init__(self, graph: LayerGraph, bytes_per_element: int = 1) -> None:
        nodes = graph.nodes
        self.size = [align(node.size * bytes_per_element) for node in nodes]
        scratch = [scratch_bytes(graph, node) for node in nodes]
        self.extra = [a + b for a, b in zip(self.size, scratch, strict=True)]
        self.inputs = [tuple(dict.fromkeys(node.inputs)) for node in nodes]
        self.needed = [bits(inputs) for inputs in self.inputs]
        self.needed[-1] = first_nodes(len(nodes) - 1)
        self.readers = [0] * len(nodes)
        for i, inputs in enumerate(self.inputs):
            for j in inputs:
                self.readers[j] |= 1 << i
        pairs = zip(self.extra, self.inputs, strict=True)
        self.alone = [extra + sum(self.size[j] for j in inputs) for extra, inputs in pairs]

    def step(self, done: int, alive: int, node: int) -> tuple[int, int]:
        """Bytes while ``node`` runs after the set ``done``, and bytes alive after it."""
        after = alive + (self.size[node] if self.readers[node] else 0)
        left = ~(done | 1 << node)
        for j in self.inputs[node]:
            if not self.readers[j] & left:
                after -= self.size[j]
        return alive + self.extra[node], after

    def peak(self, order: Sequence[int], done: int, alive: int) -> int:
        """The most bytes while an order is executed after the set ``done``."""
        peak = 0
        for node in order:
            running, alive = self.step(done, alive, node)
            done, peak = done | 1 << node, max(peak, running)
        return peak

    def alive_after(self, count: int) -> int:
        """Bytes alive when the first ``count`` nodes were executed, in whatever order."""
        later = ~first_nodes(count)
        return sum(self.size[j] for j in range(count) if self.readers[j] & later)


def parts_of(graph: LayerGraph) -> Iterator[tuple[int, int]]:
    """First node and stop of each part; the last node of a part is an ancestor of all later ones.

    All nodes before such a cut are its ancestors, so that it stands at its own place in any order.
    """
    before = _ancestors(graph)
    shared = [0] * len(before)  # set of the nodes that all later ones need
    later = -1
    for i in reversed(range(len(before))):
        shared[i], later = later, later & before[i]
    first = 0
    for i, needed in enumerate(before):
        if needed == first_nodes(i) and shared[i] >> i & 1:
            yield first, i + 1
            first = i + 1


def _ancestors(graph: LayerGraph) -> list[int]:
    """For each node the set of those that must come before it; for the output that is all."""
    sets: list[int] = []
    for node in graph:
        sets.append(reduce(or_, (sets[j] | 1 << j for j in node.inputs), 0))
    sets[-1] = first_nodes(len(sets) - 1)
    return sets


def bits(nodes: Sequence[int]) -> int:
    """The set of some nodes."""
    return reduce(or_, (1 << i for i in nodes), 0)


def first_nodes(count: int) -> int:
    """The set of the first nodes."""
    return (1 << count) - 1
