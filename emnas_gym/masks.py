"""The masks of an automaton as rows of one table, for one walk or for thousands at once.

What a mask depends on is the state, the number of tokens placed, and what the budgets leave. For
most walks everything that could follow still fits: their mask is the same row. Elsewhere a token is
legal if the least costs of one of its completions fit, so that of the costs spent only their ranks
among those least costs matter; walks of equal ranks have equal masks, made once by `Automaton`.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emnas_gym.automaton import Automaton, Options
from emnas_gym.cost_vectors import FLASH, HEAD, KEPT, MACS, PLANNING, UNLIMITED, Costs, join_costs

REMEMBERED = 1 << 16  # masks that a table keeps, and walks that it knows; beyond, it starts anew
KEY_BITS, GROUP_BITS = 62, 16  # of a group and its ranks in one int64, of the group alone
Ints = NDArray[np.int64]
Spent = tuple[int, int, int, int, int]
Key = int | tuple[int, ...]


def demands(costs: Costs) -> Ints:
    """What completions ask of each limit: flash, MACs, and the three parts of RAM; (..., 5)."""
    kept, head = costs[..., KEPT], costs[..., HEAD]
    parts = [costs[..., FLASH], costs[..., MACS], kept, kept + head, costs[..., PLANNING]]
    return np.stack(parts, axis=-1)


def used(spent: Costs) -> list[Ints]:
    """What of each limit is used up, in the order of `demands`: a demand fits into the rest."""
    kept = spent[..., KEPT]
    return [
        spent[..., FLASH],
        spent[..., MACS],
        kept + spent[..., HEAD],
        kept,
        spent[..., PLANNING],
    ]


@dataclass(frozen=True)
class _Group:
    """Walks of one state and number of tokens placed.

    Attributes:
        options: What may follow.
        row: The mask where all of it fits.
        most: For each limit that is set what may be used so that all of it fits for certain.
        ranked: For each limit that is set all demands, ascending, without repeats.
    """

    options: Options | None
    row: int
    most: list[int]
    ranked: list[list[int]]


class MaskTable:
    """The masks of an automaton.

    Attributes:
        rows: (rows or more, K + 1) int8, the masks met so far; row 0 has token 0 alone, for walks
            that are over.
        generation: Grows when the table starts anew; numbers of rows from before mean nothing then.

    Args:
        automaton: The tables.
    """

    def __init__(self, automaton: Automaton) -> None:
        self.automaton = automaton
        limits = automaton.limits
        every = np.array([limits.flash, limits.macs, limits.ram, limits.ram, limits.ram])
        self._limited = np.flatnonzero(every < UNLIMITED).tolist()
        self._limits: list[int] = every[self._limited].tolist()
        self._span = max(self._limits, default=0) + 2
        self._bits = (KEY_BITS - GROUP_BITS) // max(len(self._limited), 1)
        self._width = len(automaton.states) + 1
        self._moves: dict[tuple[int, int], tuple[int, Spent]] = {}
        self.generation = 0
        self._start_anew()

    def _start_anew(self) -> None:
        size = self.automaton.grammar.num_tokens + 1
        self.generation += 1
        self.rows = np.zeros((64, size), dtype=np.int8)
        self._row_of: dict[bytes, int] = {}
        self._ordered, self._order = 0, np.zeros((0, size), dtype=np.int64)
        self._known: dict[Key, int] = {}
        self._wide = False  # whether groups and ranks do not fit into one int64
        self._groups: list[_Group] = []
        self._index = np.full((self.automaton.max_layers + 1) * self._width, -1, dtype=np.int64)
        nothing = np.zeros(size, dtype=np.int8)
        nothing[0] = 1
        over = [self._span] * len(self._limited)
        self._groups.append(_Group(None, self._row(nothing), over, [[] for _ in over]))
        self._index[:: self._width] = 0  # column 0 is state −1, the end
        self._pack()

    # -------------------------------------------------------------------------------- one walk

    def row(self, state: int, placed: int, spent: Spent) -> int:
        """The row of one walk.

        Args:
            state: Its state; −1 if it is over.
            placed: Tokens placed.
            spent: Its costs.
        """
        number = self._group_of(state, placed)
        group = self._groups[number]
        if not self._limited:
            return group.row
        flash, macs, kept, head, planning = spent
        every = (flash, macs, kept + head, kept, planning)
        uses = [every[i] for i in self._limited]
        if all(map(int.__le__, uses, group.most)):
            return group.row
        if max(len(self._known), len(self._row_of)) >= REMEMBERED:
            self._start_anew()
            return self.row(state, placed, spent)
        rest = map(int.__sub__, self._limits, uses)
        ranks = list(map(bisect_right, group.ranked, rest))
        if self._wide:
            return self._tight((number, *ranks), group, spent)
        key = number
        for rank in ranks:
            key = (key << self._bits) | rank
        return self._tight(key, group, spent)

    def _tight(self, key: Key, group: _Group, spent: Spent | Ints) -> int:
        found = self._known.get(key)
        if found is None:
            assert group.options is not None
            total = join_costs(np.asarray(spent, dtype=np.int64), group.options.least)
            legal = self.automaton.limits.allow(total).any(axis=1)
            mask = np.zeros(self.rows.shape[1], dtype=np.int8)
            mask[group.options.tokens[legal]] = 1
            found = self._known[key] = self._row(mask)
        return found

    # ------------------------------------------------------------------------------- many walks

    def rows_of(self, states: Ints, placed: Ints, spent: Costs) -> Ints:
        """The rows of many walks.

        Args:
            states: (N,); −1 where one is over.
            placed: (N,), tokens placed.
            spent: (N, 5), costs.

        Returns:
            Indices into `rows`, shape (N,).
        """
        if max(len(self._known), len(self._row_of)) >= REMEMBERED:
            self._start_anew()
        place = placed * self._width
        place += states
        place += 1
        groups = self._index.take(place)
        if groups.min(initial=0) < 0:
            for at in np.unique(place[groups < 0]).tolist():
                self._group_of(at % self._width - 1, at // self._width)
            groups = self._index.take(place)
        if len(self._complete) < len(self._groups):
            self._pack()
        rows = self._complete.take(groups)
        if self._limited:
            tight = self._find_tight(groups, spent)
            if len(tight):
                rows[tight] = self._tight_rows(groups.take(tight), spent[tight])
        return rows

    def _find_tight(self, groups: Ints, spent: Costs) -> Ints:
        """Which walks have used more than what lets everything fit."""
        uses = used(spent)
        over = uses[self._limited[0]] > self._most[0].take(groups)
        for i, most in zip(self._limited[1:], self._most[1:], strict=True):
            over |= uses[i] > most.take(groups)
        return np.flatnonzero(over)

    def _tight_rows(self, groups: Ints, spent: Costs) -> Ints:
        """The rows of walks for which not everything fits, by what their ranks are known for."""
        uses = used(spent)
        ranks = [
            self._ranks(d, groups, limit - uses[i])
            for d, (i, limit) in enumerate(zip(self._limited, self._limits, strict=True))
        ]
        keys = self._keys(groups, ranks)
        rows = list(map(self._known.get, keys))
        if None in rows:
            for i in [i for i, row in enumerate(rows) if row is None]:
                rows[i] = self._tight(keys[i], self._groups[groups[i]], spent[i])
        return np.array(rows, dtype=np.int64)

    def _ranks(self, d: int, groups: Ints, rest: Ints) -> Ints:
        """How many demands of their groups what is left meets."""
        ranks: Ints = self._sizes[d].take(groups)
        short = np.flatnonzero(rest < self._largest[d].take(groups))
        if len(short):
            some = groups[short]
            asked = some * self._span + 1 + np.maximum(rest[short], -1)
            found = np.searchsorted(self._ranked[d], asked, side="right")
            ranks[short] = found - self._starts[d].take(some)
        return ranks

    def _keys(self, groups: Ints, ranks: list[Ints]) -> list[Any]:
        """One key for each group and ranks: whole numbers, tuples where these are too large."""
        if self._wide:
            return list(zip(groups.tolist(), *(column.tolist() for column in ranks), strict=True))
        keys = groups.copy()
        for column in ranks:
            keys <<= self._bits
            keys |= column
        found: list[int] = keys.tolist()
        return found

    def draw(self, rows: Ints, rng: np.random.Generator) -> Ints:
        """A uniformly drawn legal token for each row.

        Args:
            rows: (N,), as `rows_of` gave them.
            rng: Source of randomness.
        """
        size, there = self.rows.shape[1], len(self._row_of)
        if self._ordered < there:
            if len(self._order) < len(self.rows):
                self._order = np.zeros(self.rows.shape, dtype=np.int64)
                self._ordered = 0
            new = self.rows[self._ordered : there]
            self._order[self._ordered : there] = np.argsort(new == 0, axis=1, kind="stable")
            self._counts = np.count_nonzero(self.rows, axis=1)
            self._ordered = there
        nth = (rng.random(len(rows)) * self._counts.take(rows)).astype(np.int64)
        drawn: Ints = self._order.take(rows * size + nth)
        return drawn

    def move(self, state: int, token: int) -> tuple[int, Spent]:
        """Where a token leads, −1 at the end, and what it costs."""
        found = self._moves.get((state, token))
        if found is None:
            flash, macs, kept, head, planning = self.automaton.price[state, token].tolist()
            found = (
                int(self.automaton.next_state[state, token]),
                (flash, macs, kept, head, planning),
            )
            self._moves[state, token] = found
        return found

    # --------------------------------------------------------------------------------- building

    def _group_of(self, state: int, placed: int) -> int:
        place = placed * self._width + state + 1
        number = int(self._index[place])
        if number < 0:
            number = self._index[place] = len(self._groups)
            group = self._make_group(state, placed + 1)
            self._groups.append(group)
            self._wide |= max(map(len, group.ranked), default=0) >> self._bits > 0
            self._wide |= number >> GROUP_BITS > 0
        return int(number)

    def _make_group(self, state: int, position: int) -> _Group:
        table = self.automaton
        low, high = max(table.min_layers - position, 0), table.max_layers - position
        options = table.options(state, low, high)
        mask = np.zeros(self.rows.shape[1], dtype=np.int8)
        mask[options.tokens] = 1
        enough = demands(options.enough)[self._limited].tolist()
        there = options.least[options.least[..., FLASH] < UNLIMITED]
        columns = zip(demands(there).T[self._limited], self._limits, strict=True)
        ranked = [np.unique(column[column <= limit]).tolist() for column, limit in columns]
        most = [limit - demand for limit, demand in zip(self._limits, enough, strict=True)]
        return _Group(options, self._row(mask), most, ranked)

    def _row(self, mask: NDArray[np.int8]) -> int:
        """The number of a mask, which becomes a new row if it is met for the first time."""
        number = self._row_of.setdefault(mask.tobytes(), len(self._row_of))
        if number == len(self.rows):
            self.rows = np.concatenate([self.rows, np.zeros_like(self.rows)])
        self.rows[number] = mask
        return number

    def _pack(self) -> None:
        """Puts what groups know into arrays for many walks."""
        self._complete = np.array([group.row for group in self._groups], dtype=np.int64)
        self._most: list[Ints] = []
        self._ranked: list[Ints] = []
        self._starts: list[Ints] = []
        self._sizes: list[Ints] = []
        self._largest: list[Ints] = []
        for d in range(len(self._limited)):
            columns = [np.array(group.ranked[d], dtype=np.int64) for group in self._groups]
            sizes = [len(column) for column in columns]
            starts = [i * self._span + 1 + column for i, column in enumerate(columns)]
            self._most.append(np.array([group.most[d] for group in self._groups], dtype=np.int64))
            self._ranked.append(np.concatenate(starts))
            self._starts.append(np.cumsum([0, *sizes[:-1]]))
            self._sizes.append(np.array(sizes, dtype=np.int64))
            self._largest.append(np.array([column.max(initial=0) for column in columns]))


@lru_cache(maxsize=32)
def mask_table(automaton: Automaton) -> MaskTable:
    """The masks of an automaton, shared by all environments of a process."""
    return MaskTable(automaton)
