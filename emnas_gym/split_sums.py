"""Sums and products of many as chains of two each, so that what was added need not stay.

A sum of five maps needs all five and the result at once. Added up one after the other, each can be
dropped before the next is computed, which pays where the maps of a block feed several sums.
"""

from __future__ import annotations

from dataclasses import replace

from emnas_gym.graph import LayerGraph, Node

SUMS = frozenset({"add", "mul"})
_MARK = "/"  # what follows it in a name tells the parts of one sum apart


def split_sums(graph: LayerGraph) -> LayerGraph:
    """The same graph with sums and products of two at most; itself where it has no others.

    The last part keeps the name and the activation. Whole maps come first, so that what weighs
    their channels always reads a whole one: the chain that an export makes of a sum in any case.

    Args:
        graph: A deployed graph.
    """
    if not any(node.op in SUMS and len(node.inputs) > 2 for node in graph):
        return graph
    nodes: list[Node] = []
    moved: list[int] = []  # for each node of the graph what it has become
    for node in graph:
        inputs = tuple(moved[i] for i in node.inputs)
        if node.op in SUMS:
            inputs = _partial_sums(nodes, node, inputs)
        moved.append(len(nodes))
        nodes.append(replace(node, inputs=inputs))
    return LayerGraph(tuple(nodes))


def sum_of(node: Node) -> str:
    """The name of the node of the graph before that ``node`` is a part of, or its own."""
    return node.name.partition(_MARK)[0]


def _partial_sums(nodes: list[Node], node: Node, inputs: tuple[int, ...]) -> tuple[int, ...]:
    """Adds all parts of a sum but the last, and returns what that one reads."""
    first, *rest = sorted(inputs, key=lambda i: -nodes[i].size)
    for i, other in enumerate(rest[:-1]):
        name = f"{node.name}{_MARK}{i}"
        nodes.append(replace(node, name=name, inputs=(first, other), activation="none"))
        first = len(nodes) - 1
    return first, rest[-1]
