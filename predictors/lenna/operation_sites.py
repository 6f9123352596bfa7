"""Which operations of a space of cells stand where: the rows and columns of a table of costs.

Rows are edges. Where edges are fixed (NAS-Bench-201, LENNA's block, stages) they are the positions
of the space. Where nodes choose what they read (DARTS, NASNet) they are all edges that a node may
have, node after node, and of each node two of them exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from emnas_gym.branched.cell import Cell, Choices, Site
from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.branched.edge_cell import EdgeCell
from emnas_gym.branched.free_cell import FreeCell
from emnas_gym.branched.operations import NONE, lower
from emnas_gym.errors import InvalidArchitecture
from emnas_gym.graph import GraphBuilder, LayerGraph
from emnas_gym.tasks import Task

Edge = tuple[int, int]  # source and target; in a cell of free edges inputs come before nodes


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


def cell_edges(cell: Cell) -> tuple[Edge, ...]:
    """The rows of a cell's table.

    Raises:
        InvalidArchitecture: If it is a cell of another kind.
    """
    if isinstance(cell, EdgeCell):
        return cell.edges
    if isinstance(cell, FreeCell):
        ends = ((node, cell.inputs + node) for node in range(cell.nodes))
        return tuple((source, end) for node, end in ends for source in range(cell.inputs + node))
    raise InvalidArchitecture(f"cells are EdgeCell or FreeCell, not {type(cell).__name__}")


def cell_operations(cell: Cell) -> tuple[tuple[str, ...], ...]:
    """Names of the operations of every row.

    Raises:
        InvalidArchitecture: If it is a cell of another kind.
    """
    if isinstance(cell, EdgeCell):
        return cell.operations
    if isinstance(cell, FreeCell):
        return (cell.operations,) * len(cell_edges(cell))
    raise InvalidArchitecture(f"cells are EdgeCell or FreeCell, not {type(cell).__name__}")


def chosen_rows(cell: Cell, choices: Choices) -> list[tuple[int, int]]:
    """Row and column of every operation that runs when a cell is decided so.

    Dead edges of an `EdgeCell`, which lie on no way from its input to its output, do not run.
    """
    if isinstance(cell, EdgeCell):
        live = cell.live(choices)
        return [(row, column) for row, column in enumerate(choices) if live[row]]
    assert isinstance(cell, FreeCell)
    rows = {edge: row for row, edge in enumerate(cell_edges(cell))}
    return [
        (rows[source, cell.inputs + node], operation)
        for node, pair in enumerate(cell.decode(choices))
        for source, operation in pair
    ]


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
    edges = cell_edges(cell)
    builder = GraphBuilder(site.shape)
    builder.join("add", (0, 0))
    join = builder.build()
    for row, ((source, target), names) in enumerate(zip(edges, cell_operations(cell), strict=True)):
        is_first = source < cell.inputs
        count = sum(end == target for _, end in edges) if isinstance(cell, EdgeCell) else 2
        for column, name in enumerate(names):
            if name == NONE:
                continue
            builder = GraphBuilder(site.inputs[-1] if is_first else site.shape)
            lower(name, builder, 0, site.shape[-1], site.stride if is_first else 1)
            sums = (count - 1) / count
            yield OperationSite(group, row, column, builder.build(), join if sums else None, sums)
