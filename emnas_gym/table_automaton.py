"""The automaton of a table: its states are the sets of rows that can still be finished alike."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emnas_gym.automaton import Automaton
from emnas_gym.budgets import MASKED, Budgets
from emnas_gym.cost_vectors import COLUMNS, Costs, Limits, no_costs
from emnas_gym.errors import InfeasibleBudgets
from emnas_gym.tasks import Task

if TYPE_CHECKING:
    from emnas_gym.table_space import TableSpace

MAX_BYTES = 256 << 20  # of one table of states
Moves = NDArray[np.int64]


class TableAutomaton(Automaton):
    """Beginnings that the same choices finish share a state.

    Only rows that keep the budgets are walked; so a token costs nothing more, and what is legal
    can always be finished. A full table has one state a position. Arguments and errors are
    `Automaton`'s.
    """

    grammar: TableSpace

    def _explore(self) -> None:
        self.base = np.zeros(COLUMNS, dtype=np.int64)
        self.limits = Limits.of(Budgets())  # the rows keep them already
        rows = self.grammar.table.choices[self.grammar.fitting(self.budgets)]
        if not len(rows):
            raise InfeasibleBudgets(self._why_infeasible())
        levels = _levels(rows, [len(n) for n in self.grammar.table.operations.values()])
        starts = np.cumsum([0, *(len(moves) for moves in levels)])
        size = self.grammar.num_tokens + 1
        if 8 * size * int(starts[-1]) > MAX_BYTES:
            raise InfeasibleBudgets(
                f"{self.grammar.name} has {int(starts[-1]):,} states of {size:,} tokens, too many "
                "to hold: too many architectures of the product are missing"
            )
        self.next_state = np.full((int(starts[-1]), size), -2, dtype=np.int64)
        for position, moves in enumerate(levels):
            first = self.grammar.first_token[position]
            after = np.where(moves >= 0, moves + starts[position + 1], -2)
            if position == len(levels) - 1:
                after = np.where(moves >= 0, -1, -2)
            own = slice(int(starts[position]), int(starts[position + 1]))
            self.next_state[own, first : first + moves.shape[1]] = after
        self.depth = np.repeat(np.arange(len(levels)), np.diff(starts))
        self.states = [((), None)] * int(starts[-1])
        self.price = np.broadcast_to(np.int64(0), (*self.next_state.shape, COLUMNS))

    def _completions(self) -> list[list[Costs]]:
        """Every state can be finished, at no cost, with the positions that are left."""
        nothing, free = no_costs(), np.zeros((1, COLUMNS), dtype=np.int64)
        left = (self.max_layers - self.depth).tolist()
        return [[free if n == r else nothing for n in left] for r in range(self.max_layers)]

    def least_costs(self) -> dict[str, int]:
        """The least flash, RAM and MACs of all rows, where the table has them."""
        columns = {name: self.grammar.table.costs.get(name) for name in MASKED}
        known = {n: v[~np.isnan(v)] for n, v in columns.items() if v is not None}
        return {name: int(values.min()) for name, values in known.items() if len(values)}

    def _why_infeasible(self) -> str:
        asked = ", ".join(f"{k} = {v}" for k, v in self.budgets.to_json().items() if k in MASKED)
        least = ", ".join(f"{name} = {value}" for name, value in self.least_costs().items())
        return f"no architecture of {self.grammar.name} fits {asked}; the least of each is {least}"


def _levels(rows: Moves, sizes: list[int]) -> list[Moves]:
    """For every position its states: operation → state of the next position, −1 if there is none.

    Built from the last position backwards; of the first position there is one state.
    """
    ids = _beginnings(rows)
    state = np.zeros(len(rows), dtype=np.int64)  # of every row's beginning, one position on
    levels: list[Moves] = []
    for position in reversed(range(len(sizes))):
        count = int(ids[position].max()) + 1
        if 8 * count * sizes[position] > MAX_BYTES:
            raise InfeasibleBudgets("the table has too many beginnings to hold; make it smaller")
        moves = np.full((count, sizes[position]), -1, dtype=np.int64)
        moves[ids[position], rows[:, position]] = state
        distinct, inverse = np.unique(moves, axis=0, return_inverse=True)
        levels.append(distinct)
        state = inverse.ravel()[ids[position]]
    return levels[::-1]


def _beginnings(rows: Moves) -> list[Moves]:
    """For every position a number of each row's choices before it, equal where they are."""
    ids = [np.zeros(len(rows), dtype=np.int64)]
    for position in range(rows.shape[1] - 1):
        pairs = ids[-1] * (int(rows[:, position].max()) + 1) + rows[:, position]
        ids.append(np.unique(pairs, return_inverse=True)[1].ravel())
    return ids


@lru_cache(maxsize=32)
def table_automaton(space: TableSpace, task: Task, budgets: Budgets) -> TableAutomaton:
    """The automaton of these arguments, made once a process."""
    return TableAutomaton(space, task, budgets, space.min_layers, space.max_layers)
