"""Rewrites a graph so that every node is exactly one TensorFlow Lite operator.

The new nodes work in place: they take the arena offset of the node that they come from, so the
plan of the original graph stays valid, byte for byte.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from emnas_gym.graph import LayerGraph, Node
from emnas_gym.memory import is_large_mean

# int8 output counts in the steps of the input; for a lone relu6 TensorFlow Lite Micro takes it so
SAME_SCALE = frozenset(
    {"pad", "slice", "max_pool2d", "avg_pool2d", "mean", "concat", "relu", "relu6"}
)
FIXED_SCALE = frozenset({"sigmoid", "softmax"})  # int8 output is 1/256, -128 by definition


@dataclass(frozen=True)
class LegalGraph:
    """One operator a node.

    Attributes:
        nodes: In topological order; beside the operations of `emnas_gym.graph` there are
            ``relu``, ``relu6`` and ``quantize``.
        origins: For each node the index of the node it comes from.
    """

    nodes: tuple[Node, ...]
    origins: tuple[int, ...]

    @property
    def graph(self) -> LayerGraph:
        """The nodes as a graph."""
        return LayerGraph(self.nodes)


def legalize(graph: LayerGraph) -> LegalGraph:
    """Splits sums and products of many, and activations after ``concat``; averages become pools.

    A global average is written as an average pool over the whole map: the runtime's MEAN asks for
    four bytes of scratch a channel, which no plan made beforehand could place. Over maps that are
    too large for an NPU's pool it is a MEAN all the same (`emnas_gym.memory.is_large_mean`).

    Args:
        graph: A deployed graph.
    """
    rewriter = _Rewriter()
    for index, node in enumerate(graph):
        rewriter.start(index, node)
        if node.op == "mean" and not is_large_mean(graph, node):
            height, width, _ = graph.in_shapes(node)[0]
            window = (height, width)
            rewriter.emit(replace(node, op="avg_pool2d", kernel=window, stride=window))
        elif node.op in ("add", "mul"):
            rewriter.emit_chain(node)
        elif node.op == "concat" and node.activation != "none":
            rewriter.emit(replace(node, activation="none"))
            rewriter.emit_after(node, node.activation)
        else:
            rewriter.emit(node)
    return rewriter.finish()


def requantize(legal: LegalGraph) -> LegalGraph:
    """Adds ``quantize`` after fixed-scale nodes whose int8 values must join another scale.

    A ``concat`` needs one scale for all that it joins, but a sigmoid's scale is fixed.
    """
    groups = scale_groups(legal.nodes)
    sources: dict[int, set[bool]] = {}
    for node, group in zip(legal.nodes, groups, strict=True):
        if node.op not in SAME_SCALE:
            sources.setdefault(group, set()).add(node.op in FIXED_SCALE)
    rewriter = _Rewriter()
    for index, node in enumerate(legal.nodes):
        rewriter.start(index, node)
        rewriter.emit(node)
        if node.op in FIXED_SCALE and len(sources[groups[index]]) > 1:
            rewriter.emit_after(node, "quantize")
    result = rewriter.finish()
    return replace(result, origins=tuple(legal.origins[i] for i in result.origins))


def scale_groups(nodes: Sequence[Node]) -> list[int]:
    """For each node the first node whose output must have the same int8 scale."""
    group = list(range(len(nodes)))

    def find(i: int) -> int:
        while group[i] != i:
            i = group[i]
        return i

    for i, node in enumerate(nodes):
        if node.op in SAME_SCALE:
            for j in node.inputs:
                a, b = find(i), find(j)
                group[max(a, b)] = min(a, b)
    return [find(i) for i in range(len(nodes))]


class _Rewriter:
    """Collects new nodes and keeps track of what the old indices have become."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.origins: list[int] = []
        self.moved: list[int] = []

    def start(self, origin: int, node: Node) -> None:
        """Begins with the next old node."""
        self.origin = origin
        self.inputs = tuple(self.moved[i] for i in node.inputs)
        self.moved.append(len(self.nodes))

    def emit(self, node: Node, inputs: tuple[int, ...] | None = None) -> None:
        """Adds a node that reads what the old one read, or ``inputs``."""
        self.nodes.append(replace(node, inputs=self.inputs if inputs is None else inputs))
        self.origins.append(self.origin)
        self.moved[self.origin] = len(self.nodes) - 1

    def emit_after(self, node: Node, op: str) -> None:
        """Adds an operation of one input on the node just emitted."""
        last = len(self.nodes) - 1
        plain = Node(f"{node.name}_{op}", op, (last,), node.shape)
        self.emit(plain, (last,))

    def emit_chain(self, node: Node) -> None:
        """Adds a sum or product as a chain of two each; only the last has the activation.

        Whole maps come first, so that what weighs their channels always reads a whole one.
        """
        first, *rest = sorted(self.inputs, key=lambda i: -self.nodes[i].size)
        for i, other in enumerate(rest):
            final = i == len(rest) - 1
            self.emit(node if final else replace(node, activation="none"), (first, other))
            first = len(self.nodes) - 1

    def finish(self) -> LegalGraph:
        """The new graph."""
        return LegalGraph(tuple(self.nodes), tuple(self.origins))
