"""Cells as graphs of arrays: the operations are the nodes, as BRP-NAS draws them."""

from __future__ import annotations

import numpy as np

from emnas_gym.graph_encoding import Graphs
from predictors.cells.topology import (
    EDGES,
    NODES,
    OPERATIONS,
    Operations,
    connected,
    reached,
    used,
)

INPUT, OUTPUT = 0, len(EDGES) + 1  # the operations stand between them, in the order of the edges


def cell_graphs(operations: Operations) -> Graphs:
    """An input, six operations and an output; operations read those that end where they begin.

    Features of a node: its operation one-hot with ``none``, input and output, and then, for an
    operation, whether it is reached from the input and whether the output uses it. ``none`` is a
    node without edges, so that what a device makes of it can be learnt.

    Args:
        operations: Shape (N, 6).

    Returns:
        Graphs of 8 nodes with 9 features.
    """
    count = len(operations)
    kinds = len(OPERATIONS)
    nodes = np.zeros((count, OUTPUT + 1, kinds + 4))
    nodes[:, INPUT, kinds] = nodes[:, OUTPUT, kinds + 1] = 1.0
    hot = operations[:, :, None] == np.arange(kinds)
    nodes[:, 1:OUTPUT, :kinds] = hot
    nodes[:, 1:OUTPUT, kinds + 2] = reached(operations)
    nodes[:, 1:OUTPUT, kinds + 3] = used(operations)
    mask = np.ones((count, OUTPUT + 1), dtype=bool)
    return Graphs(nodes, _reads(operations), mask)


def _reads(operations: Operations) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    on = connected(operations)
    reads = np.zeros((len(operations), OUTPUT + 1, OUTPUT + 1))
    for edge, (source, target) in enumerate(EDGES):
        if source == 0:
            reads[:, edge + 1, INPUT] = on[:, edge]
        if target == NODES - 1:
            reads[:, OUTPUT, edge + 1] = on[:, edge]
        for later, (begin, _) in enumerate(EDGES):
            if begin == target:
                reads[:, later + 1, edge + 1] = on[:, edge] & on[:, later]
    return reads
