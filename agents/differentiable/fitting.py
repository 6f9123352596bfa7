"""From the strengths of a supernet to a network that fits the budgets of the problem."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from emnas_gym.branched.cell import Cell
from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.branched.free_cell import FreeCell
from emnas_gym.errors import DomainError, nearest
from emnas_gym.position_space import PositionSpace
from emnas_gym.problem import Problem
from predictors.supernet.wiring import Weights, Wiring

Array = NDArray[np.float64]
SAME = {  # names that tables and papers have for the operations of our spaces
    "skip_connect": "skip",
    "identity": "skip",
    "nor_conv_1x1": "conv1x1",
    "nor_conv_3x3": "conv3x3",
    "avg_pool_3x3": "avg_pool3x3",
    "avgpool3x3": "avg_pool3x3",
    "max_pool_3x3": "max_pool3x3",
    "maxpool3x3": "max_pool3x3",
}


class Translation:
    """From networks of the space that is searched to those that count.

    Positions are matched by their names; operations by theirs, where `SAME` says which names mean
    the same.

    Args:
        searched: Where the supernet is.
        wanted: Where the networks that count are.

    Raises:
        DomainError: If a position or operation of one is none of the other.
    """

    def __init__(self, searched: CellSpace, wanted: PositionSpace) -> None:
        self.searched, self.wanted = searched, wanted
        self._names: dict[str, dict[str, str]] = {}
        for position, names in searched.operations.items():
            if position not in wanted.operations:
                raise DomainError(
                    f"{wanted.name} has no position {position!r} of {searched.name}"
                    f"{nearest(position, wanted.operations)}"
                )
            there = {SAME.get(name, name): name for name in wanted.operations[position]}
            missing = [name for name in names if name not in there]
            if missing:
                raise DomainError(
                    f"{position}: {wanted.name} has no {missing[0]!r} of {searched.name}"
                    f"{nearest(missing[0], there)}"
                )
            self._names[position] = there
        further = [p for p in wanted.operations if p not in searched.operations]
        if further:
            raise DomainError(f"{searched.name} does not decide {further[0]!r} of {wanted.name}")

    def tokens(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """Tokens of the network that counts.

        Args:
            tokens: Of a network of the space that is searched.

        Raises:
            InvalidArchitecture: If the wanted space has no such network.
        """
        chosen = self.searched.all_indices(tokens)
        named = {
            position: self._names[position][names[choice]]
            for (position, names), choice in zip(
                self.searched.operations.items(), chosen, strict=True
            )
        }
        return self.wanted.encode(named)

    def from_wanted(self, position: int, scores: Array) -> Array:
        """Scores of a position's choices in the order of the wanted space.

        Args:
            position: Number of a position of the wanted space.
            scores: In the order of the space that is searched; 0 where it has no such choice.
        """
        name, there = list(self.wanted.operations.items())[position]
        mine = dict(zip(self.searched.operations[name], scores.tolist(), strict=True))
        return np.array([mine.get(SAME.get(choice, choice), 0.0) for choice in there])


def fitted(
    problem: Problem,
    translation: Translation,
    tokens: Sequence[int],
    strengths: Mapping[str, Weights],
    wirings: Mapping[str, Wiring],
) -> tuple[int, ...]:
    """The network as the problem has it; if it breaks the budgets, the nearest that does not.

    That one is decided position by position: the strongest choice after which budgets can still be
    kept.

    Args:
        problem: Its masks are kept.
        translation: To its space.
        tokens: The network that the supernet is for, in the space that is searched.
        strengths: Of every group (edges, operations).
        wirings: Edges and operations of every group.

    Raises:
        InvalidArchitecture: If a table has no such network.
        InfeasibleBudgets: If no network fits.
    """
    table, wanted = problem.automaton, translation.tokens(tokens)
    if table.fits(wanted):
        return wanted
    space, cursor, order = translation.searched, table.start(), list(translation.wanted.operations)
    places = [(group, i) for group, c in space.groups.items() for i in range(len(c.positions))]
    of = dict(zip(space.operations, places, strict=True))
    chosen: dict[str, list[int]] = {group: [] for group in space.groups}
    while not cursor.done:
        at = len(cursor.tokens)
        group, position = of[order[at]]
        cell = space.groups[group]
        scores = choice_scores(cell, wirings[group], strengths[group], position, chosen[group])
        scores = translation.from_wanted(at, scores)
        legal, first = table.legal(cursor), translation.wanted.first_token[at]
        token = int(legal[int(np.argmax(scores[legal - first]))])
        name = translation.wanted.operations[order[at]][token - first]
        chosen[group].append(cell.positions[position].choices.index(SAME.get(name, name)))
        table.step(cursor, token)
    return tuple(cursor.tokens)


def choice_scores(
    cell: Cell, wires: Wiring, strengths: Weights, position: int, chosen: Sequence[int]
) -> Array:
    """How strong each choice of a position is, after those before it.

    Args:
        cell: The cell.
        wires: Its edges.
        strengths: (edges, operations).
        position: Which decision.
        chosen: What was chosen at the positions before.
    """
    count = len(cell.positions[position].choices)
    if not isinstance(cell, FreeCell):
        return np.asarray(strengths[position, :count])
    node, pairs = 0, list(cell.pairs)
    left = position
    while left >= 2 + (len(pairs[node]) > 1):
        left -= 2 + (len(pairs[node]) > 1)
        node += 1
    target = cell.inputs + node

    def edge(source: int) -> Array:
        return np.asarray(strengths[wires.edges.index((source, target))])

    if len(pairs[node]) > 1 and left == 0:
        return np.array([edge(a).max() + edge(b).max() for a, b in pairs[node]])
    free = len(pairs[node]) > 1
    pair = pairs[node][chosen[position - left] if free else 0]
    return edge(pair[left - free])[:count]
