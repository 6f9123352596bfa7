"""Networks as graphs with a global node: the input of graph networks.

Dudziak et al. 2020 ("BRP-NAS", arXiv:2007.08668) add to the nodes of a network one that reads all
of them, whose last state then stands for the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emnas_gym.architecture import Architecture
from emnas_gym.features import LAYER, layer_table
from emnas_gym.models.base import Array
from emnas_gym.tasks import Task

VERSION = 1  # changes with the meaning, number or order of the node features
GLOBAL = 0  # the node that reads all others
NODE = (*LAYER, "global", "input")


@dataclass(frozen=True)
class Graphs:
    """N graphs of at most V nodes, the first of each the global one.

    Attributes:
        nodes: What each node is, shape (N, V, F); the columns are `NODE`.
        adjacency: 1 where node i reads node j, else 0, shape (N, V, V), no loops: node i + 1
            stands for layer i and reads the one before it; the global node reads all others.
        mask: 1 where there is a node, else 0, shape (N, V).
    """

    nodes: Array
    adjacency: Array
    mask: Array

    def __len__(self) -> int:
        """Number of graphs."""
        return len(self.nodes)

    def __getitem__(self, rows: NDArray[Any] | slice) -> Graphs:
        """Some of the graphs."""
        return Graphs(self.nodes[rows], self.adjacency[rows], self.mask[rows])


def graphs(batch: Sequence[Architecture], task: Task) -> Graphs:
    """Networks as graphs of their layers.

    Args:
        batch: Architectures of one space, not empty; those that behave alike give equal graphs.
        task: What they are for.

    Raises:
        ShapeError: If one of them cannot be built.
    """
    table = layer_table(batch[0].space, task)
    layers, lengths = table.gather([table.walk(a.canonical) for a in batch])
    count, longest = layers.shape[:2]
    place = np.arange(longest + 1)
    mask = (place <= lengths[:, None]).astype(np.float64)
    nodes = np.zeros((count, longest + 1, len(NODE)))
    nodes[:, 1:, : len(LAYER)] = layers
    nodes[:, GLOBAL, NODE.index("global")] = 1.0
    nodes[:, 1, NODE.index("input")] = 1.0
    chain = (place[:, None] == place + 1) & (place >= 1)  # [i, j]: layer i reads layer j before it
    adjacency = chain * mask[:, :, None] * mask[:, None, :]
    adjacency[:, GLOBAL, 1:] = mask[:, 1:]
    return Graphs(nodes, adjacency, mask)
