"""Networks as graphs of arrays: what a graph network reads.

A network is a set of nodes with features and a matrix that says which node reads which. Graphs of
different sizes stand in one batch, padded with nodes that a mask leaves out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emnas_gym import costs
from emnas_gym.errors import ShapeError
from emnas_gym.graph import OPS, LayerGraph, Node

Array = NDArray[np.float64]
VERSION = 1  # changes with the meaning, number or order of the features
KINDS = tuple(sorted(OPS))
NUMBERS = ("kernel", "stride", "side", "channels", "size", "macs", "params", "relu", "sigmoid")
FEATURES = (*KINDS, *NUMBERS)  # of one node of a `LayerGraph`
LARGEST_GRAPH = 512  # nodes; more would be no network of a space, and N·V² numbers are made


@dataclass(frozen=True)
class Graphs:
    """A batch of N graphs of at most V nodes with F features each.

    Attributes:
        nodes: Features, zero where there is no node, shape (N, V, F).
        reads: 1 where the row's node reads the column's node, shape (N, V, V).
        mask: Whether there is a node, shape (N, V).
    """

    nodes: Array
    reads: Array
    mask: NDArray[np.bool_]

    def __post_init__(self) -> None:
        """Checks that the arrays fit together.

        Raises:
            ShapeError: If they do not, or a number is not finite.
        """
        if self.nodes.ndim != 3 or self.mask.shape != self.nodes.shape[:2]:
            raise ShapeError(f"nodes have shape {self.nodes.shape}, the mask {self.mask.shape}")
        if self.reads.shape != (*self.mask.shape, self.mask.shape[1]):
            raise ShapeError(f"reads has shape {self.reads.shape}, the mask {self.mask.shape}")
        if not (np.isfinite(self.nodes).all() and np.isfinite(self.reads).all()):
            raise ShapeError("a graph holds a number that is not finite")

    def __len__(self) -> int:
        """Number of graphs."""
        return len(self.nodes)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the nodes; scikit-learn takes the number of samples from it."""
        return self.nodes.shape

    def __getitem__(self, rows: Any) -> Graphs:  # noqa: ANN401
        """Some of the graphs, chosen as rows of an array are."""
        return Graphs(self.nodes[rows], self.reads[rows], self.mask[rows])


def layer_graphs(graphs: Sequence[LayerGraph]) -> Graphs:
    """Arrays of networks as they are deployed.

    Args:
        graphs: Networks with at most `LARGEST_GRAPH` nodes.

    Returns:
        Graphs with the features `FEATURES`, padded to the largest network.

    Raises:
        ShapeError: If there are no networks, or one is too large.
    """
    deployed = [graph.deployed() for graph in graphs]
    most = max((len(graph.nodes) for graph in deployed), default=0)
    if not 0 < most <= LARGEST_GRAPH:
        raise ShapeError(f"graphs have 1 to {LARGEST_GRAPH} nodes, not {most}")
    nodes = np.zeros((len(deployed), most, len(FEATURES)))
    reads = np.zeros((len(deployed), most, most))
    mask = np.zeros((len(deployed), most), dtype=bool)
    for i, graph in enumerate(deployed):
        mask[i, : len(graph.nodes)] = True
        for j, node in enumerate(graph):
            nodes[i, j] = node_features(graph, node)
            reads[i, j, list(node.inputs)] = 1.0
    return Graphs(nodes, reads, mask)


def node_features(graph: LayerGraph, node: Node) -> list[float]:
    """One operation as the numbers `FEATURES`; sizes, MACs and parameters as log2(1 + n)."""
    kind = [float(node.op == op) for op in KINDS]
    side = math.prod(node.shape[:-1])
    work = (costs.node_macs(graph, node), costs.node_params(graph, node))
    sizes = (side, node.shape[-1], node.size, *work)
    window = [float(node.kernel[0]), float(node.stride[0])]
    active = [float(node.activation in ("relu", "relu6")), float(node.op == "sigmoid")]
    return [*kind, *window, *(math.log2(1 + n) for n in sizes), *active]
