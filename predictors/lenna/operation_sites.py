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
        sum: The sum of its node's two edges, half of which is its own, where nodes choose what they
            read; None where edges are fixed (`sum_sites`).
    """

    group: str
    row: int
    column: int
    graph: LayerGraph
    sum: LayerGraph | None


@dataclass(frozen=True)
class SumSite:
    """A sum that an edge makes if another into its node runs too, at one place of a network.

    Attributes:
        group: Name of the group of decisions.
        row: Index of the edge.
        graph: The sum alone.
    """

    group: str
    row: int
    graph: LayerGraph


def operation_sites(space: CellSpace, task: Task) -> Iterator[OperationSite]:
    """Every operation at every place of a space's networks; ``none`` is left out.

    Args:
        space: A space of cells.
        task: Input shape and classes.

    Yields:
        Sites; those of one group, row and column stand at several places of a network.
    """
    for group, cell, site in _cell_sites(space, task):
        yield from _of_cell(group, cell, site)


def sum_sites(space: CellSpace, task: Task) -> Iterator[SumSite]:
    """Every fixed edge that shares its node with others, at every place of a space's networks.

    Args:
        space: A space of cells.
        task: Input shape and classes.

    Yields:
        Sites; nothing for cells whose nodes choose what they read, since all of theirs sum two.
    """
    for group, cell, site in _cell_sites(space, task):
        if not isinstance(cell, EdgeCell):
            continue
        targets = [target for _, target in wiring(cell).edges]
        for row, target in enumerate(targets):
            if targets.count(target) > 1:
                yield SumSite(group, row, _sum(site))


def _cell_sites(space: CellSpace, task: Task) -> Iterator[tuple[str, Cell, Site]]:
    witness = {group: cell.witness for group, cell in space.groups.items()}
    _, built = space.skeleton.assemble(task, space.cells, witness)
    for group, sites in space.skeleton.sites(built).items():
        for site in sites:
            yield group, space.groups[group], site


def _of_cell(group: str, cell: Cell, site: Site) -> Iterator[OperationSite]:
    wires = wiring(cell)
    shared = None if isinstance(cell, EdgeCell) else _sum(site)
    for row, ((source, _), names) in enumerate(zip(wires.edges, wires.operations, strict=True)):
        is_first = source < cell.inputs
        for column, name in enumerate(names):
            if name == NONE:
                continue
            builder = GraphBuilder(site.inputs[-1] if is_first else site.shape)
            lower(name, builder, 0, site.shape[-1], site.stride if is_first else 1)
            yield OperationSite(group, row, column, builder.build(), shared)


def _sum(site: Site) -> LayerGraph:
    builder = GraphBuilder(site.shape)
    builder.join("add", (0, 0))
    return builder.build()
