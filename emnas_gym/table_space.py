"""The search space of a table: a token is an operation at a position."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from emnas_gym.architecture import Architecture
from emnas_gym.budgets import MASKED, Budgets
from emnas_gym.errors import InfeasibleBudgets, InvalidArchitecture
from emnas_gym.measurement import Measurement
from emnas_gym.position_space import PositionSpace
from emnas_gym.table import Table
from emnas_gym.table_automaton import TableAutomaton, table_automaton
from emnas_gym.tasks import DIGITS, Task
from emnas_gym.token_space import ENUMERABLE


class TableSpace(PositionSpace):
    """Architectures of a table as sequences of one token a position.

    Args:
        table: The table.
        classes: Whether architectures of one class count as the same network. The first row of a
            class then stands for all of it.
    """

    def __init__(self, table: Table, classes: bool = True) -> None:
        self.table, self.name, self.classes = table, table.name, classes

    def __repr__(self) -> str:
        """Name, positions and rows."""
        return f"TableSpace({self.name}, {self.max_layers} positions, {len(self.table):,} rows)"

    # ------------------------------------------------------------------------------- tokens

    @cached_property
    def fingerprint(self) -> str:
        """The checksum of the table, and whether classes count."""
        return self.table.checksum[:11] + ("c" if self.classes else "r")

    @property
    def operations(self) -> Mapping[str, tuple[str, ...]]:
        """What may be chosen at each position, in the order of tokens."""
        return self.table.operations

    # ------------------------------------------------------------------------ architectures

    @cached_property
    def _tokens(self) -> NDArray[np.int64]:
        """Tokens of every row, shape (N, positions)."""
        tokens: NDArray[np.int64] = self.table.choices + np.array(self.first_token)
        return tokens

    @cached_property
    def _rows(self) -> dict[tuple[int, ...], int]:
        return {tuple(tokens): row for row, tokens in enumerate(self._tokens.tolist())}

    @cached_property
    def represented(self) -> NDArray[np.int64]:
        """The row that stands for each row, shape (N,): the first one of its class."""
        return self.table.first_of_class if self.classes else np.arange(len(self.table))

    def row(self, tokens: Sequence[int]) -> int:
        """Index of an architecture in the table.

        Raises:
            InvalidArchitecture: If it is none of the table.
        """
        found = self._rows.get(tuple(int(t) for t in tokens))
        if found is None:
            self.all_indices(tokens)  # says which token does not belong to its position
            raise InvalidArchitecture(
                f"{self.name} has no row for {', '.join(map(self.describe, tokens))}"
            )
        return found

    def rows_of(self, tokens: NDArray[np.int16]) -> NDArray[np.int64]:
        """Rows that stand for architectures, shape (N,).

        Args:
            tokens: (N, positions), each a row of the table.
        """
        sizes = [len(names) for names in self.table.operations.values()]
        if math.prod(sizes) > np.iinfo(np.int64).max:  # no number for each: one by one
            found = [self.row(one) for one in tokens.tolist()]
            return self.represented[found]
        codes = self._codes(tokens.astype(np.int64))
        order, ascending = self._by_code
        return self.represented[order[np.searchsorted(ascending, codes)]]

    def _codes(self, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
        """One number for each architecture, whatever the other rows: positions as digits."""
        codes = np.zeros(len(tokens), dtype=np.int64)
        for position, names in enumerate(self.table.operations.values()):
            codes = codes * len(names) + (tokens[:, position] - self.first_token[position])
        return codes

    @cached_property
    def _by_code(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows in the order of their codes, and these codes."""
        codes = self._codes(self._tokens)
        order = np.argsort(codes)
        return order, codes[order]

    def tokens_of(self, row: int) -> tuple[int, ...]:
        """Tokens of a row."""
        return tuple(int(token) for token in self._tokens[row])

    def check(self, tokens: Sequence[int]) -> None:
        """Checks that a row has these tokens.

        Raises:
            InvalidArchitecture: If none has.
        """
        self.row(tokens)

    def canonical_tokens(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """Tokens of the row that stands for an architecture."""
        return self.tokens_of(int(self.represented[self.row(tokens)]))

    def fitting(self, budgets: Budgets) -> NDArray[np.int64]:
        """Rows that keep the limits on flash, RAM and MACs, as far as the table has them."""
        keeps = np.ones(len(self.table), dtype=bool)
        for name, limit in budgets.to_json().items():
            if name in MASKED and name in self.table.costs:
                keeps &= ~(self.table.costs[name][self.represented] > limit)
        return np.flatnonzero(keeps)

    def promised(self, tokens: Sequence[int], task: Task) -> Measurement:
        """Flash, RAM and MACs of an architecture, as far as the table has them."""
        row = int(self.represented[self.row(tokens)])
        known = {name: self.table.costs[name][row] for name in MASKED if name in self.table.costs}
        values = {name: round(value) for name, value in known.items() if not np.isnan(value)}
        return Measurement.of("table", **values)

    def automaton(
        self,
        task: Task = DIGITS,
        budgets: Budgets | None = None,
        min_layers: int | None = None,
        max_layers: int | None = None,
    ) -> TableAutomaton:
        """The tables of legal tokens; made once a process.

        Raises:
            InfeasibleBudgets: If no row keeps the budgets, or another length is asked for.
        """
        self.check_lengths(min_layers, max_layers)
        return table_automaton(self, task, budgets or Budgets())

    def size(self, length: int | None = None) -> int:
        """Number of rows."""
        return len(self.table) if length in (None, self.max_layers) else 0

    def enumerate(
        self, task: Task = DIGITS, budgets: Budgets | None = None, length: int | None = None
    ) -> Iterator[Architecture]:
        """Yields every row that keeps the budgets, in the order of tokens.

        Raises:
            InfeasibleBudgets: If none does, or the table has over a million rows.
        """
        if self.size(length) > ENUMERABLE:
            raise InfeasibleBudgets(f"{self.name} has over {ENUMERABLE:,} rows")
        self.automaton(task, budgets)
        rows = self.fitting(budgets or Budgets()) if self.size(length) else np.zeros(0, np.int64)
        for tokens in sorted(map(tuple, self._tokens[rows].tolist())):
            yield Architecture(self, tokens)
