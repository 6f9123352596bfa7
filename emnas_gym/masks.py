"""The masks of an automaton as rows of one table, for one walk or for thousands at once.

What a mask depends on is the state, the number of tokens placed, and what the budgets leave. For
most walks everything that could follow still fits: their mask is the same row. Elsewhere a token is
legal if the least costs of one of its completions fit, so that of the costs spent only their ranks
among those least costs matter; walks of equal ranks have equal masks, made once by `Automaton`.
How thousands of walks find their ranks at once is the business of `emnas_gym.packed_groups`.
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
from emnas_gym.packed_groups import KeyedRows, PackedGroups

REMEMBERED = 1 << 16  # masks that a table keeps, and walks that it knows; beyond, it starts anew
KEY_BITS, GROUP_BITS = 62, 16  # of a group and its ranks in one int64, of the group alone
SORTED = 256  # so many walks are worth sorting
HEADED = 2  # the limit on what is kept while activations lie beside it: they use it up as well
COLUMN = (FLASH, MACS, KEPT, KEPT, PLANNING)  # what uses up the limits
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
        bounds: For each limit that is set its index, and what may be used so that all of it fits
            for certain.
        ranked: For each limit that is set all demands, ascending, without repeats.
    """

    number: int
    options: Options | None
    row: int
    bounds: list[tuple[int, int]]
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
        self._set = list(zip(self._limited, self._limits, strict=True))
        self._columns = np.array([COLUMN[i] for i in self._limited], dtype=np.int64)
        self._headed = self._limited.index(HEADED) if HEADED in self._limited else None
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
        self._keyed = KeyedRows()
        self._wide = False  # whether groups and ranks do not fit into one int64
        self._groups: list[_Group] = []
        self._index = np.full((self.automaton.max_layers + 1) * self._width, -1, dtype=np.int64)
        nothing = np.zeros(size, dtype=np.int8)
        nothing[0] = 1
        over = [(i, limit + 1) for i, limit in self._set]
        self._groups.append(_Group(0, None, self._row(nothing), over, [[] for _ in over]))
        self._index[self._width - 1 :: self._width] = 0  # the last column is state −1, the end
        self._group_at: dict[int, _Group] = {}
        number = 1 << self._bits * len(self._limited)
        self._packed = PackedGroups(self._limits, self._shifts, number)
        self._pack()

    # -------------------------------------------------------------------------------- one walk

    def row(self, state: int, placed: int, spent: Spent) -> int:
        """The row of one walk.

        Args:
            state: Its state; −1 if it is over.
            placed: Tokens placed.
            spent: Its costs.
        """
        place = placed * self._width + state
        group = self._group_at.get(place)
        if group is None:
            group = self._group_at[place] = self._groups[self._group_of(state, placed)]
        flash, macs, kept, head, planning = spent
        every = (flash, macs, kept + head, kept, planning)
        for i, most in group.bounds:
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
        key, ranks = group.number, []
        for (i, limit), demands in zip(self._set, group.ranked, strict=True):
            rank = bisect_right(demands, limit - every[i])
            key = key << self._bits | rank
            ranks.append(rank)
        return self._tight((group.number, *ranks) if self._wide else key, group, spent)

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
            spent: (N, 5), costs of walks that obeyed their masks; faster where its columns are
                contiguous.

        Returns:
            Indices into `rows`, shape (N,).
        """
        if self._full():
            self._start_anew()
        groups = self._groups_at(states, placed)
        rows: Ints = self._packed.rows.take(groups)
        if self._limited:
            uses = self._used(spent.T)
            tight = self._packed.tight(groups, uses)
            if len(tight):
                some = groups.take(tight)
                if len(tight) > SORTED and not self._wide:  # neighbours look into the same parts
                    order = some.astype(np.uint16).argsort(kind="stable")
                    tight, some = tight.take(order), some.take(order)
                rows[tight] = self._tight_rows(some, uses.take(tight, axis=1), spent, tight)
        return rows

    def _groups_at(self, states: Ints, placed: Ints) -> Ints:
        """The numbers of the groups of walks, (N,), known to `_packed`."""
        place = placed * self._width
        place += states  # of state −1 the column before, which is the end's as well
        groups: Ints = self._index.take(place)
        new = groups < 0
        if np.count_nonzero(new):
            for at in np.unique(place[new]).tolist():
                self._group_of(at % self._width, at // self._width)
            groups = self._index.take(place)
        if len(self._packed) < len(self._groups):
            self._pack()
        return groups

    def _used(self, spent: Ints) -> Ints:
        """What of each limit that is set is used up, (limits, N); see `demands`."""
        uses: Ints = spent.take(self._columns, axis=0)
        if self._headed is not None:
            uses[self._headed] += spent[HEAD]
        return uses

    def _tight_rows(self, groups: Ints, uses: Ints, spent: Costs, tight: Ints) -> Ints:
        """The rows of walks for which not everything fits, by what their ranks are known for."""
        found = self._packed.found(groups, uses)
        if self._wide:
            ranks = self._packed.ranks(groups, found)
            several = zip(groups.tolist(), *ranks.tolist(), strict=True)
            pairs = zip(several, tight.tolist(), strict=True)
            made = [self._tight(key, self._groups[key[0]], spent[i]) for key, i in pairs]
            return np.array(made, dtype=np.int64)
        keys = self._packed.keys(groups, found)
        rows, missed, slots = self._keyed.of(keys)
        if len(missed):
            new = keys.take(missed)
            of = zip(new.tolist(), groups.take(missed).tolist(), tight.take(missed), strict=True)
            made = [self._tight(key, self._groups[group], spent[i]) for key, group, i in of]
            rows[missed] = made
            self._keyed.put(slots.take(missed), new, made)
        return rows

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
        place = placed * self._width + state
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
        pairs = zip(self._set, enough, strict=True)
        bounds = [(i, limit - demand) for (i, limit), demand in pairs]
        return _Group(number, options, self._row(mask), bounds, ranked)

    def _row(self, mask: NDArray[np.int8]) -> int:
        """The number of a mask, which becomes a new row if it is met for the first time."""
        number = self._row_of.setdefault(mask.tobytes(), len(self._row_of))
        if number == len(self.rows):
            self.rows = np.concatenate([self.rows, np.zeros_like(self.rows)])
        self.rows[number] = mask
        return number

    def _pack(self) -> None:
        """Appends what new groups know to the arrays for many walks."""
        new = self._groups[len(self._packed) :]
        most = [[bound for _, bound in group.bounds] for group in new]
        self._packed.append([group.row for group in new], most, [group.ranked for group in new])


@lru_cache(maxsize=32)
def mask_table(automaton: Automaton) -> MaskTable:
    """The masks of an automaton, shared by all environments of a process."""
    return MaskTable(automaton)
