"""The ways through cells whose nodes choose what they read: White et al. 2021's encoding of DARTS.

Which edges there are differs from network to network, so that ways are followed one network at a
time; where edges are fixed, `agents.graphs_behind` knows them for all networks at once.
"""

from __future__ import annotations

from collections import defaultdict

from emnas_gym.branched.cell import Choices
from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.branched.free_cell import FreeCell
from emnas_gym.token_space import TokenSpace
from predictors.supernet.wirings import wiring

Way = tuple[str, ...]  # operations from an input to an output
MOST = 10  # nodes: a cell of so many has up to 2,046 ways


def free_cells(space: TokenSpace) -> dict[str, FreeCell]:
    """The cells of every group of a space, if nodes choose in all of them; else nothing."""
    if not isinstance(space, CellSpace):
        return {}
    found = {g: cell for g, cell in space.groups.items() if isinstance(cell, FreeCell)}
    small = all(cell.nodes <= MOST for cell in found.values())
    return found if small and len(found) == len(space.groups) else {}


def ways(cell: FreeCell, choices: Choices) -> list[Way]:
    """The operations along every way from an input of a cell to one of its outputs.

    Args:
        cell: The cell.
        choices: What is chosen at its positions.

    Returns:
        One for each way, so that equal ones may stand there several times.
    """
    wires = wiring(cell)
    entering: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for edge, operation in wires.running(choices):
        source, target = wires.edges[edge]
        entering[target].append((source, wires.operations[edge][operation]))
    leading: dict[int, list[Way]] = {value: [()] for value in range(cell.inputs)}
    for value in range(cell.inputs, wires.values):
        leading[value] = [
            (*way, name) for source, name in entering[value] for way in leading[source]
        ]
    return [way for value in wires.output() for way in leading[value]]
