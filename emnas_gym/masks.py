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

import numpy as np
from numpy.typing import NDArray

from emnas_gym.automaton import Automaton, Options
from emnas_gym.cost_vectors import (
    FLASH,
    HEAD,
    KEPT,
    MACS,
    PLANNING,
    UNLIMITED,
    Costs,
    Spent,
    join_costs,
)

REMEMBERED = 1 << 16  # masks that a table keeps, and walks that it knows; beyond, it starts anew
KEY_BITS, GROUP_BITS = 62, 16  # of a group and its ranks in one int64, of the group alone
SORTED = 256  # so many walks are worth sorting
CACHED_BITS, SPREAD = 16, np.int64(0x1E3779B97F4A7C15)  # slots of the cache, and what mixes keys
HEADED = 2  # the limit on what is kept while activations lie beside it
COLUMN = (FLASH, MACS, -1, KEPT, PLANNING)  # what uses up the others
Ints = NDArray[np.int64]
Key = int | tuple[int, ...]


def demands(costs: Costs) -> Ints:
    """What completions ask of each limit, shape (..., 5).

    They ask flash; MACs; room for what is kept beside the largest activations of before; room for
    what is kept and their own activations; and room to plan memory. A completion fits if each is
    met by what the limit leaves when what the walk has used up of it is taken away.
    """
    kept, head = costs[..., KEPT], costs[..., HEAD]
    parts = [costs[..., FLASH], costs[..., MACS], kept, kept + head, costs[..., PLANNING]]
    return np.stack(parts, axis=-1)


@dataclass(frozen=True)
class _Group:
    """Walks of one state and number of tokens placed.

    Attributes:
        number: Its index.
        options: What may follow.
        row: The mask where all of it fits.
        most: For each limit that is set what may be used so that all of it fits for certain.
        ranked: For each limit that is set all demands, ascending, without repeats.
    """

    number: int
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
        self._limit = every[self._limited, None]
        self._span = max(self._limits, default=0) + 2
        self._bits = (KEY_BITS - GROUP_BITS) // max(len(self._limited), 1)
        self._shifts = 1 << self._bits * np.arange(len(self._limited))[::-1]
        self._width = len(automaton.states) + 1
        self.generation = 0
        self._start_anew()

    def _start_anew(self) -> None:
        size = self.automaton.grammar.num_tokens + 1
        self.generation += 1
        self.rows = np.zeros((64, size), dtype=np.int8)
        self._row_of: dict[bytes, int] = {}
        self._ordered, self._order = 0, np.zeros((0, size), dtype=np.int64)
        self._known: dict[Key, int] = {}
        self._cached_keys = np.full(1 << CACHED_BITS, -1, dtype=np.int64)
        self._cached_rows = np.zeros(1 << CACHED_BITS, dtype=np.int64)
        self._wide = False  # whether groups and ranks do not fit into one int64
        self._groups: list[_Group] = []
        self._index = np.full((self.automaton.max_layers + 1) * self._width, -1, dtype=np.int64)
        nothing = np.zeros(size, dtype=np.int8)
        nothing[0] = 1
        over = [self._span] * len(self._limited)
        self._groups.append(_Group(0, None, self._row(nothing), over, [[] for _ in over]))
        self._index[:: self._width] = 0  # column 0 is state −1, the end
        self._group_at: dict[int, _Group] = {}
        self._complete = self._ranked = np.zeros(0, dtype=np.int64)
        nobody = np.zeros((len(self._limited), 0), dtype=np.int64)
        self._most = self._sizes = self._largest = self._starts = self._first = nobody
        self._pack()

    # -------------------------------------------------------------------------------- one walk

    def row(self, state: int, placed: int, spent: Spent) -> int:
        """The row of one walk.

        Args:
            state: Its state; −1 if it is over.
            placed: Tokens placed.
            spent: Its costs.
        """
        place = placed * self._width + state + 1
        group = self._group_at.get(place)
        if group is None:
            group = self._group_at[place] = self._groups[self._group_of(state, placed)]
        flash, macs, kept, head, planning = spent
        every = (flash, macs, kept + head, kept, planning)
        for i, most in zip(self._limited, group.most, strict=True):
            if every[i] > most:
                if self._full():
                    self._start_anew()
                    return self.row(state, placed, spent)
                return self._tight_row(group, every, spent)
        return group.row

    def _full(self) -> bool:
        """Whether so many masks or walks are known that the table starts anew."""
        return len(self._known) >= REMEMBERED or len(self._row_of) >= REMEMBERED

    def _tight_row(self, group: _Group, every: Spent, spent: Spent) -> int:
        """The row of a walk for which not everything may fit, by what its ranks are known for."""
        rest = [limit - every[i] for i, limit in zip(self._limited, self._limits, strict=True)]
        ranks = list(map(bisect_right, group.ranked, rest))
        if self._wide:
            return self._tight((group.number, *ranks), group, spent)
        key = group.number
        for rank in ranks:
            key = (key << self._bits) | rank
        return self._tight(key, group, spent)

    def _tight(self, key: Key, group: _Group, spent: Spent | Ints) -> int:
        """The row of a walk for which not everything fits, made once for each group and ranks."""
        found = self._known.get(key)
        if found is None:
            options = group.options
            assert options is not None
            total = join_costs(np.asarray(spent, dtype=np.int64), options.least)
            legal = self.automaton.limits.allow(total).any(axis=1)
            mask = np.zeros(self.rows.shape[1], dtype=np.int8)
            mask[options.tokens[legal]] = 1
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
        if self._full():
            self._start_anew()
        place = placed * self._width
        place += states
        place += 1
        groups = self._index.take(place)
        new = groups < 0
        if np.count_nonzero(new):
            for at in np.unique(place[new]).tolist():
                self._group_of(at % self._width - 1, at // self._width)
            groups = self._index.take(place)
        if len(self._complete) < len(self._groups):
            self._pack()
        rows: Ints = self._complete.take(groups)
        if self._limited:
            uses = self._used(spent)
            above = uses > self._most.take(groups, axis=1)
            tight = np.logical_or.reduce(above, axis=0).nonzero()[0]
            if len(tight):
                some = groups.take(tight)
                if len(tight) > SORTED:
                    order = np.argsort(some)  # neighbours then look into the same parts of tables
                    tight, some = tight.take(order), some.take(order)
                rest = self._limit - uses.take(tight, axis=1)
                rows[tight] = self._tight_rows(some, rest, spent, tight)
        return rows

    def _used(self, spent: Costs) -> Ints:
        """What of each limit that is set is used up, (limits, N); see `demands`."""
        uses = np.empty((len(self._limited), len(spent)), dtype=np.int64)
        for i, row in zip(self._limited, uses, strict=True):
            if i == HEADED:
                np.add(spent[:, KEPT], spent[:, HEAD], out=row)
            else:
                row[:] = spent[:, COLUMN[i]]
        return uses

    def _tight_rows(self, groups: Ints, rest: Ints, spent: Costs, tight: Ints) -> Ints:
        """The rows of walks for which not everything fits, by what their ranks are known for."""
        ranks = self._ranks(groups, rest)
        if self._wide:
            keys = zip(groups.tolist(), *ranks.tolist(), strict=True)
            pairs = zip(keys, tight.tolist(), strict=True)
            found = [self._tight(key, self._groups[key[0]], spent[i]) for key, i in pairs]
            return np.array(found, dtype=np.int64)
        return self._packed_rows(groups, ranks, spent, tight)

    def _packed_rows(self, groups: Ints, ranks: Ints, spent: Costs, tight: Ints) -> Ints:
        """The same by keys in one whole number, through a cache with one slot for each hash."""
        keys = self._shifts @ ranks
        keys += groups << self._bits * len(self._limited)
        slots = (keys * SPREAD) >> (63 - CACHED_BITS) & ((1 << CACHED_BITS) - 1)
        rows: Ints = self._cached_rows.take(slots)
        missed = (self._cached_keys.take(slots) != keys).nonzero()[0]
        if len(missed):
            some = keys.take(missed)
            found = [
                self._tight(key, self._groups[groups[i]], spent[tight[i]])
                for i, key in zip(missed.tolist(), some.tolist(), strict=True)
            ]
            rows[missed] = found
            at = slots.take(missed)
            self._cached_keys[at], self._cached_rows[at] = some, found
        return rows

    def _ranks(self, groups: Ints, rest: Ints) -> Ints:
        """How many demands of their groups what is left meets, (limits, n)."""
        asked = np.maximum(rest, -1)
        asked += self._first.take(groups, axis=1)
        ranks: Ints = self._sizes.take(groups, axis=1)
        short = (rest < self._largest.take(groups, axis=1)).reshape(-1).nonzero()[0]
        sought = asked.reshape(-1)[short].astype(self._ranked.dtype)
        found = self._ranked.searchsorted(sought, side="right")
        found -= self._starts.take(groups, axis=1).reshape(-1)[short]
        ranks.reshape(-1)[short] = found
        return ranks

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

    # --------------------------------------------------------------------------------- building

    def _group_of(self, state: int, placed: int) -> int:
        place = placed * self._width + state + 1
        number = int(self._index[place])
        if number < 0:
            number = self._index[place] = len(self._groups)
            group = self._make_group(number, state, placed + 1)
            self._groups.append(group)
            self._wide |= max(map(len, group.ranked), default=0) >> self._bits > 0
            self._wide |= number >> GROUP_BITS > 0
        return int(number)

    def _make_group(self, number: int, state: int, position: int) -> _Group:
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
        return _Group(number, options, self._row(mask), most, ranked)

    def _row(self, mask: NDArray[np.int8]) -> int:
        """The number of a mask, which becomes a new row if it is met for the first time."""
        number = self._row_of.setdefault(mask.tobytes(), len(self._row_of))
        if number == len(self.rows):
            self.rows = np.concatenate([self.rows, np.zeros_like(self.rows)])
        self.rows[number] = mask
        return number

    def _pack(self) -> None:
        """Appends what new groups know to the arrays for many walks: (limits, groups) each."""
        number, span = len(self._limited), self._span
        new = self._groups[len(self._complete) :]
        sizes = np.array([[len(d) for d in group.ranked] for group in new], dtype=np.int64)
        largest = [[d[-1] if d else 0 for d in group.ranked] for group in new]
        place = len(self._complete) * number + np.arange(len(new) * number)
        first = 1 + span * place  # so that demands ascend over all groups
        starts = len(self._ranked) + np.cumsum(sizes) - sizes.ravel()
        ranked = [
            start + np.array(demands, dtype=np.int64)
            for start, demands in zip(
                first.tolist(), (d for group in new for d in group.ranked), strict=True
            )
        ]
        self._complete = np.append(self._complete, [group.row for group in new])
        self._most = _wider(self._most, [group.most for group in new])
        self._sizes, self._largest = _wider(self._sizes, sizes), _wider(self._largest, largest)
        self._starts, self._first = _wider(self._starts, starts), _wider(self._first, first)
        self._ranked = np.concatenate([self._ranked, *ranked])
        if span * (self._sizes.size + 1) < np.iinfo(np.int32).max:
            self._ranked = self._ranked.astype(np.int32)  # half as much to keep in the cache


def _wider(known: Ints, rows: object) -> Ints:
    """An array (limits, groups) with new groups: their rows, one value a limit, as columns."""
    columns = np.asarray(rows, dtype=np.int64).reshape(-1, len(known)) if len(known) else None
    return known if columns is None else np.concatenate([known, columns.T], axis=1)


@lru_cache(maxsize=32)
def mask_table(automaton: Automaton) -> MaskTable:
    """The masks of an automaton, shared by all environments of a process."""
    return MaskTable(automaton)
