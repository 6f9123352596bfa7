"""The wiring of any cell."""

from __future__ import annotations

from emnas_gym.branched.cell import Cell
from emnas_gym.branched.edge_cell import EdgeCell
from emnas_gym.branched.free_cell import FreeCell
from emnas_gym.errors import InvalidArchitecture
from predictors.supernet.edge_wiring import EdgeWiring
from predictors.supernet.free_wiring import FreeWiring
from predictors.supernet.wiring import Wiring


def wiring(cell: Cell) -> Wiring:
    """The wiring of a cell.

    Raises:
        InvalidArchitecture: If the kind of cell is unknown.
    """
    if isinstance(cell, EdgeCell):
        return EdgeWiring(cell)
    if isinstance(cell, FreeCell):
        return FreeWiring(cell)
    raise InvalidArchitecture(f"cells have edges or free nodes, unlike {type(cell).__name__}")
