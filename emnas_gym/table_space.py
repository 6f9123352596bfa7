"""The search space of a table: a token is an operation at a position."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from emnas_gym.architecture import Architecture
from emnas_gym.budgets import MASKED, Budgets
from emnas_gym.errors import InfeasibleBudgets, InvalidArchitecture, nearest
from emnas_gym.measurement import Measurement
from emnas_gym.table import Table
from emnas_gym.table_automaton import TableAutomaton, table_automaton
from emnas_gym.tasks import DIGITS, Task
from emnas_gym.token_space import ENUMERABLE, TokenSpace


class TableSpace(TokenSpace):
    """Architectures of a table as sequences of one token a position.

    With k operations at every position, token = 1 + position · k + operation; with different
    numbers, the tokens of a position follow those of the position before. The last position ends
    an architecture; there is no end token.

    Args:
        table: The table.
        classes: Whether architectures of one class count as the same network. The first row of a
            class then stands for all of it.
    """

    def __init__(self, table: Table, classes: bool = True) -> None:
        self.table, self.name, self.classes = table, table.name, classes
        self.min_layers = self.max_layers = len(table.positions)
        sizes = [len(names) for names in table.operations.values()]
        self.first_token = [1 + sum(sizes[:i]) for i in range(len(sizes))]
        self._choice = [
            (position, name) for position, names in table.operations.items() for name in names
        ]

    def __repr__(self) -> str:
        """Name, positions and rows."""
        return f"TableSpace({self.name}, {self.max_layers} positions, {len(self.table):,} rows)"

    # ------------------------------------------------------------------------------- tokens

    @cached_property
    def fingerprint(self) -> str:
        """The checksum of the table, and whether classes count."""
        return self.table.checksum[:11] + ("c" if self.classes else "r")

    @property
    def num_tokens(self) -> int:
        """Operations of all positions together."""
        return len(self._choice)

    @property
    def end_token(self) -> int:
        """0: the last position ends an architecture."""
        return 0

    @cached_property
    def canonical_token(self) -> tuple[int, ...]:
        """Every token is its own: what is the same, is so as a whole; see `canonical_tokens`."""
        return tuple(range(self.num_tokens + 1))

    @cached_property
    def details(self) -> NDArray[np.float32]:
        """Position and operation of every token, from 1, shape (K + 1, 2).

        An operation has one number at all positions.
        """
        names = {name: i for i, name in enumerate(dict.fromkeys(n for _, n in self._choice), 1)}
        places = {position: i for i, position in enumerate(self.table.positions, 1)}
        rows = [(0, 0), *((places[position], names[name]) for position, name in self._choice)]
        return np.array(rows, dtype=np.float32)

    def describe(self, token: int) -> str:
        """Position and operation of a token, such as ``0→1 = conv3x3``.

        Raises:
            InvalidArchitecture: If there is no such token.
        """
        if not 1 <= token <= self.num_tokens:
            raise InvalidArchitecture(f"{self.name} has tokens 1 to {self.num_tokens}, not {token}")
        return " = ".join(self._choice[token - 1])

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
            raise InvalidArchitecture(self._why_not(tokens))
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

    def _why_not(self, tokens: Sequence[int]) -> str:
        if len(tokens) != self.max_layers:
            return f"{self.name} has {self.max_layers} positions, not {len(tokens)}"
        ends = [*self.first_token[1:], self.num_tokens + 1]
        for token, first, end in zip(tokens, self.first_token, ends, strict=True):
            if not first <= token < end:
                position = self.table.positions[self.first_token.index(first)]
                return f"{position}: its tokens are {first} to {end - 1}, not {token}"
        return f"{self.name} has no row for {', '.join(map(self.describe, tokens))}"

    def tokens_of(self, row: int) -> tuple[int, ...]:
        """Tokens of a row."""
        return tuple(int(token) for token in self._tokens[row])

    def encode(self, choices: Mapping[str, str]) -> tuple[int, ...]:
        """Tokens of an architecture that is given as position → operation.

        Raises:
            InvalidArchitecture: If a position or operation is unknown or missing, or no row has
                this combination.
        """
        for position in choices:
            if position not in self.table.positions:
                raise InvalidArchitecture(
                    f"unknown position {position!r}{nearest(position, self.table.positions)}"
                )
        tokens = []
        for first, (position, names) in zip(
            self.first_token, self.table.operations.items(), strict=True
        ):
            name = choices.get(position, "")
            if name not in names:
                raise InvalidArchitecture(f"{position} has no {name!r}{nearest(name, names)}")
            tokens.append(first + names.index(name))
        self.check(tokens)
        return tuple(tokens)

    def check(self, tokens: Sequence[int]) -> None:
        """Checks that a row has these tokens.

        Raises:
            InvalidArchitecture: If none has.
        """
        self.row(tokens)

    def canonical_tokens(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """Tokens of the row that stands for an architecture."""
        return self.tokens_of(int(self.represented[self.row(tokens)]))

    def distance(self, a: Sequence[int], b: Sequence[int]) -> int:
        """Positions at which two architectures differ; 0 if they count as the same."""
        if self.canonical_tokens(a) == self.canonical_tokens(b):
            return 0
        return sum(x != y for x, y in zip(a, b, strict=True))

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
        for length in (min_layers, max_layers):
            if length not in (None, self.max_layers):
                raise InfeasibleBudgets(
                    f"{self.name}: every architecture has {self.max_layers} positions, not {length}"
                )
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
