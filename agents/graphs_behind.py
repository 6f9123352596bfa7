"""The graphs behind the positions of a space: which nodes its operations join."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.branched.edge_cell import EdgeCell
from emnas_gym.branched.operations import NONE
from emnas_gym.errors import TableFileError
from emnas_gym.table_space import TableSpace
from emnas_gym.token_space import TokenSpace
from emnas_gym.wiring import Wiring


@dataclass(frozen=True)
class GraphBehind:
    """A graph whose edges are some neighbouring positions of a space.

    Attributes:
        first: The first of the positions.
        wiring: Its edges, and which operation is none.
    """

    first: int
    wiring: Wiring

    @property
    def positions(self) -> slice:
        """Its positions."""
        return slice(self.first, self.first + len(self.wiring.edges))

    @property
    def ways(self) -> tuple[tuple[int, ...], ...]:
        """Positions of the space along every way from its input to its output."""
        return tuple(tuple(self.first + edge for edge in way) for way in self.wiring.ways)


@lru_cache(maxsize=8)
def graphs_behind(space: TokenSpace) -> tuple[GraphBehind, ...]:
    """The graphs of a space, which together have all of its positions.

    Args:
        space: Any space.

    Returns:
        The graph of a table that tells it; one for every group of decisions of a space of cells
        whose edges are fixed. Nothing for a chain, for a table that does not tell, for nodes that
        choose what they read, and where there are too many ways to list.
    """
    if isinstance(space, TableSpace):
        wiring = space.table.wiring
        return () if wiring is None else (GraphBehind(0, wiring),)
    if not isinstance(space, CellSpace):
        return ()
    found: list[GraphBehind] = []
    first = 0
    for cell in space.groups.values():
        if not isinstance(cell, EdgeCell):
            return ()
        try:
            found.append(GraphBehind(first, Wiring(cell.edges, NONE)))
        except TableFileError:  # more ways than anybody lists
            return ()
        first += len(cell.edges)
    return tuple(found)
