"""A NAS-Bench-201 cell (Dong & Yang 2020): four nodes, six edges, one operation on each edge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Operations = NDArray[np.int8]  # (N, 6), each one of OPERATIONS
Edges = NDArray[np.bool_]  # (N, 6)

OPERATIONS = ("none", "skip", "conv1x1", "conv3x3", "avgpool3x3")
NONE, SKIP, CONV1, CONV3, POOL = range(5)
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))  # in the official order
NODES = 4
PATHS = ((3,), (0, 4), (1, 5), (0, 2, 5))  # edges of every way from the input to the output


def connected(operations: Operations) -> Edges:
    """Edges that carry something: all but those of ``none``."""
    on: Edges = operations != NONE
    return on


def reached(operations: Operations) -> Edges:
    """Connected edges whose source depends on the input of the cell."""
    on = connected(operations)
    live = np.zeros((len(operations), NODES), dtype=bool)
    live[:, 0] = True
    for edge, (source, target) in enumerate(EDGES):
        live[:, target] |= on[:, edge] & live[:, source]
    return on & live[:, [source for source, _ in EDGES]]


def used(operations: Operations) -> Edges:
    """Connected edges whose target goes into the output of the cell."""
    on = connected(operations)
    live = np.zeros((len(operations), NODES), dtype=bool)
    live[:, NODES - 1] = True
    for edge in reversed(range(len(EDGES))):
        source, target = EDGES[edge]
        live[:, source] |= on[:, edge] & live[:, target]
    return on & live[:, [target for _, target in EDGES]]


def active(operations: Operations) -> Edges:
    """Edges on a way from the input to the output; the others change nothing."""
    return reached(operations) & used(operations)


def only(operations: Operations, edges: Edges) -> Operations:
    """The same cells with ``none`` on all edges but the given ones."""
    return np.where(edges, operations, NONE).astype(np.int8)


def adjacency(operations: Operations) -> NDArray[np.int8]:
    """Operation from each node to each later one, (N, 4, 4); ``none`` where there is no edge."""
    matrix = np.full((len(operations), NODES, NODES), NONE, dtype=np.int8)
    for edge, (source, target) in enumerate(EDGES):
        matrix[:, source, target] = operations[:, edge]
    return matrix


def canonical(cell: Sequence[int]) -> str:
    """A text that is the same for cells of the same computation graph.

    The rule of NAS-Bench-201 for isomorphic cells: ``skip`` is what it reads, the order of a sum
    does not matter, and what is reached from nowhere is nothing. Zeros still stand in their sums,
    as in the official rule.

    Args:
        cell: Six operations in the order of `EDGES`.
    """
    text = ["0"]
    for node in range(1, NODES):
        terms = []
        for edge, (source, target) in enumerate(EDGES):
            if target == node:
                terms.append(_term(int(cell[edge]), text[source]))
        text.append("+".join(sorted(terms)))
    return text[-1]


def _term(operation: int, source: str) -> str:
    if operation == NONE or source == "#":
        return "#"
    return source if operation == SKIP else f"({source})@{OPERATIONS[operation]}"
