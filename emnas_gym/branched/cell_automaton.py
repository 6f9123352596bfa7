"""The automaton of cells: its states are what the cells of the edges so far have in common.

A token costs what becomes certain with it: the edges that it makes live, at all places where the
cell stands. An edge that leads nowhere is never charged, so that what is left of flash and MACs is
exact at the end, and what can still be finished is exact on the way.
"""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache, reduce
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emnas_gym import costs
from emnas_gym.automaton import Automaton
from emnas_gym.branched.cell import Built, Cell, Prices
from emnas_gym.budgets import MASKED, Budgets
from emnas_gym.cost_vectors import (
    COLUMNS,
    UNLIMITED,
    Costs,
    Limits,
    join_costs,
    no_costs,
    ram_of,
)
from emnas_gym.errors import InfeasibleBudgets
from emnas_gym.graph import LayerGraph
from emnas_gym.memory import align
from emnas_gym.tasks import Task

if TYPE_CHECKING:
    from emnas_gym.branched.cell_space import CellSpace

MAX_BYTES = 64 << 20  # of the table of prices


class CellAutomaton(Automaton):
    """Beginnings after which the same choices cost the same share a state.

    Arguments and errors are `Automaton`'s. Limits on RAM are checked for what all networks have in
    common; which network keeps them is known when it is finished.
    """

    grammar: CellSpace

    def _explore(self) -> None:
        space, choices = self.grammar, {g: c.witness for g, c in self.grammar.groups.items()}
        graph, built = space.skeleton.assemble(self.task, space.cells, choices)
        self.base = _fixed_costs(graph, built)
        if int(ram_of(self.base)) > self.limits.ram:
            raise InfeasibleBudgets(self._why_infeasible())
        self.limits = Limits(self.limits.flash, self.limits.macs, UNLIMITED)
        sites = space.skeleton.sites(built)
        prices = {
            group: _summed([cell.prices(site) for site in sites[group]])
            for group, cell in space.groups.items()
        }
        plan = [
            (cell, i, prices[group])
            for group, cell in space.groups.items()
            for i in range(len(cell.positions))
        ]
        self._tabulate(plan)

    def _tabulate(self, plan: list[tuple[Cell, int, Prices]]) -> None:
        """Goes through all positions, breadth first."""
        space, size = self.grammar, self.grammar.num_tokens + 1
        level: dict[Hashable, int] = {plan[0][0].start(): 0}
        rows: list[NDArray[np.int64]] = []
        tolls: list[Costs] = []
        depth: list[int] = []
        for position, (cell, index, prices) in enumerate(plan):
            after: dict[Hashable, int] = {}
            first, names = space.first_token[position], cell.positions[index].choices
            start = len(rows) + len(level)
            if 8 * COLUMNS * size * start > MAX_BYTES:
                raise InfeasibleBudgets(
                    f"{space.name} has over {start:,} states of {size:,} tokens, too many to hold: "
                    "give its cells fewer edges that may be none"
                )
            for state in level:
                row = np.full(size, -2, dtype=np.int64)
                toll = np.zeros((size, COLUMNS), dtype=np.int64)
                for choice in range(len(names)):
                    found = cell.step(state, index, choice, prices)
                    if found is not None:
                        target = _next(plan, position, found[0])
                        row[first + choice] = (
                            -1 if target is None else start + after.setdefault(target, len(after))
                        )
                        toll[first + choice] = found[1]
                rows.append(row)
                tolls.append(toll)
                depth.append(position)
            level = after
        self.next_state, self.price, self.depth = np.stack(rows), np.stack(tolls), depth
        self.states = [((), None)] * len(rows)

    def _completions(self) -> list[list[Costs]]:
        """As `Automaton`'s; a state has one number of tokens left."""
        nothing, count = no_costs(), len(self.states)
        table = [[nothing] * count for _ in range(self.max_layers)]
        for state in reversed(range(1, count)):
            left = self.max_layers - self.depth[state]
            ends = self.price[state, self.next_state[state] == -1]
            if left > 1:
                ends = self._extend(self._cheapest_moves(state), table[left - 1])
            table[left][state] = self._prune(ends)
        return table

    def least_costs(self) -> dict[str, int]:
        """The least flash and MACs of any network, and the least RAM that all of them need."""
        least = super().least_costs()
        return least | {"ram_bytes": int(ram_of(self.base))}

    def _least_ram(self) -> int:
        return int(ram_of(self.base))

    def _why_infeasible(self) -> str:
        asked = ", ".join(f"{k} = {v}" for k, v in self.budgets.to_json().items() if k in MASKED)
        free = cell_automaton(self.grammar, self.task, Budgets())
        least = ", ".join(f"{name} = {value}" for name, value in free.least_costs().items())
        return (
            f"no network of {self.grammar.name} on {self.task.name} fits {asked}; "
            f"each needs at least {least}"
        )


def _next(plan: list[tuple[Cell, int, Prices]], position: int, state: Hashable) -> Hashable | None:
    """The state at the next position, that of a new cell at its beginning; None at the end."""
    if position + 1 == len(plan):
        return None
    cell, index, _ = plan[position + 1]
    return cell.start() if index == 0 else state


def _summed(prices: list[dict[Hashable, Costs]]) -> Prices:
    """What decisions cost at all places together."""
    return {key: reduce(join_costs, (found[key] for found in prices)) for key in prices[0]}


def _fixed_costs(graph: LayerGraph, built: list[Built]) -> Costs:
    """What every network costs, whatever is chosen; of RAM's head a bound from below."""
    chosen = set().union(*(cell.chosen for cell in built))
    flash, kept, setup = costs.FLASH_HEADER, costs.PERSISTENT_HEADER, costs.SETUP_HEADER
    macs = head = 0
    for i, node in enumerate(graph):
        if i not in chosen:
            flash += costs.node_flash(graph, node)
            macs += costs.node_macs(graph, node)
            kept += costs.node_persistent(graph, node)
            setup += costs.node_setup(graph, node)
            head = max(
                head, align(node.size) + sum(align(graph.nodes[j].size) for j in node.inputs)
            )
    return np.array([flash, macs, kept, head, kept + setup], dtype=np.int64)


@lru_cache(maxsize=32)
def cell_automaton(space: CellSpace, task: Task, budgets: Budgets) -> CellAutomaton:
    """The automaton of these arguments, made once a process."""
    return CellAutomaton(space, task, budgets, space.min_layers, space.max_layers)
