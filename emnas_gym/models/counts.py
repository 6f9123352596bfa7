"""What a whole network costs, in a few numbers: the input of the simplest predictors.

All of it adds up along a chain (or is a maximum), so that a layer is counted once for every shape
that it meets, as in `emnas_gym.features`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from emnas_gym import costs
from emnas_gym.architecture import Architecture
from emnas_gym.cost_vectors import FLASH, MACS, Costs, base_costs, join_costs, layer_costs, ram_of
from emnas_gym.grammar import Grammar
from emnas_gym.graph import GraphBuilder, LayerGraph, Shape
from emnas_gym.models.base import Array
from emnas_gym.tasks import Task

VERSION = 1  # changes with the meaning, number or order of the columns
KINDS = ("conv2d", "depthwise_conv2d", "dense")
COUNTS = (  # binary logarithms of one plus the count
    "params",
    "macs",
    "ram_bytes",
    "flash_bytes",
    "layers",
    "operations",
    "sigmoids",
    "activations",
    "largest_activation",
    "last_activation",
    *(f"{what}_{kind}" for what in ("macs", "params") for kind in KINDS),
)
LARGEST, LAST = (COUNTS.index(name) for name in ("largest_activation", "last_activation"))
_Met = tuple[Shape, Costs, NDArray[np.int64]]  # the shape after, what adds up, the counts


class CountTable:
    """Counts of the layers of a space on a task, made when they are first met.

    Args:
        space: The search space.
        task: Input shape and classes.
    """

    def __init__(self, space: Grammar, task: Task) -> None:
        self.space, self.task = space, task
        self._met: dict[tuple[Shape, int], _Met] = {}

    def row(self, tokens: Sequence[int]) -> NDArray[np.int64]:
        """Counts of a network in the order of `COUNTS`.

        Raises:
            ShapeError: If a layer does not fit its shape.
        """
        shape, total = self.task.input_shape, base_costs(self.task)
        counts = np.zeros(len(COUNTS), dtype=np.int64)
        for token in tokens:
            key = (shape, token)
            if key not in self._met:
                self._met[key] = self._meet(shape, token)
            largest = counts[LARGEST]
            counts[LAST] = math.prod(shape)  # of the layer before
            shape, cost, more = self._met[key]
            total, counts = join_costs(total, cost), counts + more
            counts[LARGEST] = max(largest, more[LARGEST])
        counts[1], counts[2], counts[3] = total[MACS], ram_of(total), total[FLASH]
        return counts

    def _meet(self, shape: Shape, token: int) -> _Met:
        builder = GraphBuilder(shape)
        self.space.spec(token).lower(builder, self.task.classes)
        graph = builder.build()
        return builder.shape, layer_costs(graph), _layer_counts(graph)


def _layer_counts(graph: LayerGraph) -> NDArray[np.int64]:
    nodes = graph.deployed().nodes[1:]
    counts = dict.fromkeys(COUNTS, 0)
    counts |= {"layers": 1, "operations": len(nodes), "params": costs.params(graph)}
    counts["sigmoids"] = sum(node.op == "sigmoid" for node in nodes)
    counts["activations"] = sum(node.size for node in nodes)
    counts["largest_activation"] = max((node.size for node in nodes), default=0)
    for node in graph.nodes[1:]:
        if node.op in KINDS:
            counts[f"macs_{node.op}"] += costs.node_macs(graph, node)
            counts[f"params_{node.op}"] += costs.node_params(graph, node)
    return np.array([counts[name] for name in COUNTS], dtype=np.int64)


@lru_cache(maxsize=32)
def count_table(space: Grammar, task: Task) -> CountTable:
    """The table of a space and task, shared by a process."""
    return CountTable(space, task)


def counts(batch: Sequence[Architecture], task: Task) -> Array:
    """Binary logarithms of one plus each of `COUNTS`, shape (N, counts).

    Args:
        batch: Architectures of one space, not empty.
        task: What they are for.

    Raises:
        ShapeError: If one of them cannot be built.
    """
    table = count_table(batch[0].space, task)
    rows: Array = np.log2(1.0 + np.stack([table.row(a.canonical) for a in batch]))
    return rows
