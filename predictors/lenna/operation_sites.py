"""Which operations of a space of cells stand where: the rows and columns of a table of costs.

Rows are edges (`predictors.supernet.wiring`). Where they are fixed (NAS-Bench-201, LENNA's block,
stages) they are the positions of the space. Where nodes choose what they read (DARTS, NASNet) they
are all edges that a node may have, node after node, and of each node two of them exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from emnas_gym.branched.cell import Cell, Site
from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.branched.edge_cell import EdgeCell
from emnas_gym.branched.operations import NONE, lower
from emnas_gym.graph import GraphBuilder, LayerGraph
from emnas_gym.tasks import Task
from predictors.supernet.wirings import wiring


@dataclass(frozen=True)
class OperationSite:
    """One operation at one place of a network.

    Attributes:
        group: Name of the group of decisions (`CellSpace.groups`).
        row: Index of the edge.
        column: Index of the operation.
        graph: The operation alone; nothing but an input where it adds no operator.
        join: The sum of two maps of its output; None where its node has no other edge.
        sums: How many such sums an edge has on average: (k - 1) / k for one of k edges.
    """

    group: str
    row: int
    column: int
    graph: LayerGraph
    join: LayerGraph | None
    sums: float


def operation_sites(space: CellSpace, task: Task) -> Iterator[OperationSite]:
    """Every operation at every place of a space's networks; ``none`` is left out.

    Args:
        space: A space of cells.
        task: Input shape and classes.

    Yields:
        Sites; those of one group, row and column stand at several places of a network.
    """
    witness = {group: cell.witness for group, cell in space.groups.items()}
    _, built = space.skeleton.assemble(task, space.cells, witness)
    for group, sites in space.skeleton.sites(built).items():
        for site in sites:
            yield from _of_cell(group, space.groups[group], site)


def _of_cell(group: str, cell: Cell, site: Site) -> Iterator[OperationSite]:
    wires = wiring(cell)
    builder = GraphBuilder(site.shape)
    builder.join("add", (0, 0))
    join = builder.build()
    for row, ((source, target), names) in enumerate(
        zip(wires.edges, wires.operations, strict=True)
    ):
        is_first = source < cell.inputs
        count = sum(end == target for _, end in wires.edges) if isinstance(cell, EdgeCell) else 2
        for column, name in enumerate(names):
            if name == NONE:
                continue
            builder = GraphBuilder(site.inputs[-1] if is_first else site.shape)
            lower(name, builder, 0, site.shape[-1], site.stride if is_first else 1)
            sums = (count - 1) / count
            yield OperationSite(group, row, column, builder.build(), join if sums else None, sums)
