"""What layers cost as vectors that add up along a chain, and which of them fit the budgets.

RAM has two moments. While the network runs it needs what the runtime keeps, which adds up, and a
head that activations share, which is a maximum. While the runtime plans its memory, records of
every tensor lie where activations lie later: that adds up as well. The larger of the two counts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emnas_gym import costs
from emnas_gym.budgets import Budgets
from emnas_gym.graph import GraphBuilder, LayerGraph
from emnas_gym.memory import align, scratch_bytes
from emnas_gym.tasks import Task

COLUMNS = 5
FLASH, MACS, KEPT, HEAD, PLANNING = range(COLUMNS)  # RAM: max(KEPT + HEAD, PLANNING)
PAIRWISE = 256  # so many vectors are compared all with all
UNLIMITED = np.iinfo(np.int64).max // 16  # sums of a few stay inside int64
NEVER = 2 * UNLIMITED  # fills up tables: fits no limit, not even the absent one
Costs = NDArray[np.int64]
Spent = tuple[int, int, int, int, int]  # one vector in plain numbers


@dataclass(frozen=True)
class Limits:
    """The budgets that masks guarantee, `UNLIMITED` where there is none.

    Attributes:
        flash: Bytes of the model file.
        macs: Multiply-accumulates.
        ram: Bytes of RAM.
    """

    flash: int
    macs: int
    ram: int

    @classmethod
    def of(cls, budgets: Budgets) -> Limits:
        """The limits of budgets."""
        asked = (budgets.flash_bytes, budgets.macs, budgets.ram_bytes)
        return cls(*(UNLIMITED if limit is None else int(limit) for limit in asked))

    @property
    def matter(self) -> NDArray[np.bool_]:
        """Which columns of a cost vector any limit asks about, shape (5,)."""
        ram = self.ram < UNLIMITED
        return np.array([self.flash < UNLIMITED, self.macs < UNLIMITED, ram, ram, ram])

    def allow(self, total: Costs) -> NDArray[np.bool_]:
        """Which total costs keep the limits; shape (..., 5) to (...)."""
        fits: NDArray[np.bool_] = (
            (total[..., FLASH] <= self.flash)
            & (total[..., MACS] <= self.macs)
            & (ram_of(total) <= self.ram)
        )
        return fits


def ram_of(total: Costs) -> Costs:
    """RAM of total costs; shape (..., 5) to (...)."""
    ram: Costs = np.maximum(total[..., KEPT] + total[..., HEAD], total[..., PLANNING])
    return ram


def join_costs(a: Costs, b: Costs) -> Costs:
    """Costs of two parts in a row: sums, and the maximum of the RAM heads."""
    joined = a + b
    joined[..., HEAD] = np.maximum(a[..., HEAD], b[..., HEAD])
    return joined


def layer_costs(graph: LayerGraph) -> Costs:
    """What the operations of one layer cost, its input not counted; shape (5,)."""
    graph = graph.deployed()
    flash = macs = kept = head = setup = 0
    for node in graph.nodes[1:]:
        sizes = sum(align(graph.nodes[i].size) for i in node.inputs) + align(node.size)
        sizes += scratch_bytes(graph, node)
        flash += costs.node_flash(graph, node)
        macs += costs.node_macs(graph, node)
        kept += costs.node_persistent(graph, node)
        setup += costs.node_setup(graph, node)
        head = max(head, sizes)
    return np.array([flash, macs, kept, head, kept + setup], dtype=np.int64)


def base_costs(task: Task) -> Costs:
    """What every network of a task costs before its first layer; shape (5,)."""
    graph = GraphBuilder(task.input_shape).build()
    node = graph.nodes[0]
    flash = costs.FLASH_HEADER + costs.node_flash(graph, node)
    kept = costs.PERSISTENT_HEADER + costs.node_persistent(graph, node)
    setup = costs.SETUP_HEADER + costs.node_setup(graph, node)
    return np.array([flash, 0, kept, align(node.size), kept + setup], dtype=np.int64)


def no_costs() -> Costs:
    """No vector at all, shape (0, 5)."""
    return np.zeros((0, COLUMNS), dtype=np.int64)


def padded(fronts: list[Costs]) -> Costs:
    """Stacks fronts of different lengths, filled up with costs that never fit."""
    width = max(len(front) for front in fronts)
    packed = np.full((len(fronts), width, COLUMNS), NEVER, dtype=np.int64)
    for i, front in enumerate(fronts):
        packed[i, : len(front)] = front
    return packed


def pareto_minimal(vectors: Costs) -> Costs:
    """The distinct vectors that no other one undercuts or equals in every column."""
    if len(vectors) > PAIRWISE:
        half = len(vectors) // 2
        parts = [pareto_minimal(vectors[:half]), pareto_minimal(vectors[half:])]
        merged = np.concatenate(parts)
        if len(merged) < len(vectors):
            return pareto_minimal(merged)
        vectors = merged
    if len(vectors) < 2:
        return vectors
    below = (vectors[:, None] <= vectors[None]).all(axis=2)  # [i, j]: i is nowhere above j
    earlier = np.tri(len(vectors), k=-1, dtype=bool).T  # of equal vectors the first stays
    beaten = (below & (~below.T | earlier)).any(axis=0)
    return vectors[~beaten]
