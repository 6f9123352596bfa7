"""Groups of walks as arrays, so that thousands of walks look up their masks at once.

A group is what `emnas_gym.masks` calls so: walks of one state and number of tokens placed. For each
limit it has demands, ascending; how many of them are met by what a walk leaves of the limit is the
walk's rank. All demands stand in one array, those of every group and limit shifted to a span of
their own, so that one search finds the ranks of all walks for all limits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SPREAD = np.int64(0x1E3779B97F4A7C15)  # mixes keys
CACHED_BITS = 18  # slots of the cache
Ints = NDArray[np.int64]


class PackedGroups:
    """Groups in the order of their numbers.

    Attributes:
        rows: (groups,), the mask where all of what may follow fits.
        most: (limits, groups), what may be used so that all of it fits for certain.

    Args:
        limits: Those that are set.
        shifts: (limits,), by which factors ranks are put side by side into one key.
        number: The factor of the group's number in that key.
    """

    def __init__(self, limits: Sequence[int], shifts: Ints, number: int) -> None:
        self._limits = np.array(limits, dtype=np.int64)[:, None]
        self._span = max(limits, default=0) + 2
        self._shifts, self._number = shifts, number
        self.rows: Ints = np.zeros(0, dtype=np.int64)
        nobody = np.zeros((len(limits), 0), dtype=np.int64)
        self.most = self._room = self._largest = self._starts = self._ends = nobody
        self._offsets, self._demands = self.rows, self.rows

    def __len__(self) -> int:
        """Number of groups."""
        return len(self.rows)

    def append(
        self, rows: Sequence[int], most: Sequence[Sequence[int]], ranked: Sequence[list[list[int]]]
    ) -> None:
        """Adds groups.

        Args:
            rows: Their complete masks.
            most: Of each group, for each limit, what may be used so that all fits.
            ranked: Of each group, for each limit, all demands, ascending.
        """
        count, limits, known = len(rows), len(self._limits), len(self)
        sizes = np.array([[len(d) for d in group] for group in ranked], dtype=np.int64)
        largest = [[d[-1] if d else 0 for d in group] for group in ranked]
        place = known * limits + np.arange(count * limits)
        shift = (1 + self._span * place).reshape(count, limits)  # so that all demands ascend
        ends = (len(self._demands) + np.cumsum(sizes)).reshape(count, limits)
        shifted = [
            start + np.array(demands, dtype=np.int64)
            for start, demands in zip(
                shift.ravel().tolist(), (d for group in ranked for d in group), strict=True
            )
        ]
        starts = ends - sizes
        offsets = (known + np.arange(count)) * self._number - starts @ self._shifts
        self.rows = np.append(self.rows, rows)
        self.most = _wider(self.most, most)
        self._room = _wider(self._room, shift + self._limits.T)
        self._largest = _wider(self._largest, shift + largest)
        self._starts, self._ends = _wider(self._starts, starts), _wider(self._ends, ends)
        self._offsets = np.append(self._offsets, offsets)
        self._demands = np.concatenate([self._demands, *shifted])
        if self._span * (self._ends.size + 1) < np.iinfo(np.int32).max:
            self._demands = self._demands.astype(np.int32)  # half as much to keep in the cache

    def tight(self, groups: Ints, uses: Ints) -> Ints:
        """Walks for which perhaps not all fits.

        Args:
            groups: (N,), of walks.
            uses: (limits, N), what they have used up of each limit.
        """
        above = uses > self.most.take(groups, axis=1)
        walks: Ints = np.logical_or.reduce(above).nonzero()[0]
        return walks

    def found(self, groups: Ints, uses: Ints) -> Ints:
        """Where among all demands stand those that walks no longer meet, (limits, N).

        Args:
            groups: (N,).
            uses: (limits, N); no more than the limits.
        """
        asked = self._room.take(groups, axis=1)
        asked -= uses
        found: Ints = self._ends.take(groups, axis=1)  # where all demands are met
        short = (asked < self._largest.take(groups, axis=1)).reshape(-1).nonzero()[0]
        sought = asked.reshape(-1).take(short).astype(self._demands.dtype)
        found.reshape(-1)[short] = self._demands.searchsorted(sought, side="right")
        return found

    def keys(self, groups: Ints, found: Ints) -> Ints:
        """Group and ranks of each walk in one whole number, (N,); what `found` says is found."""
        keys: Ints = self._shifts @ found
        keys += self._offsets.take(groups)  # modulo 2⁶⁴ as all of it
        return keys

    def ranks(self, groups: Ints, found: Ints) -> Ints:
        """The ranks alone, (limits, N)."""
        return found - self._starts.take(groups, axis=1)


class KeyedRows:
    """Rows of masks by key, one slot for each hash: a newer key takes the place of an older one.

    Args:
        bits: Binary logarithm of the number of slots.
    """

    def __init__(self, bits: int = CACHED_BITS) -> None:
        self._bits = bits
        self._slots = np.zeros((1 << bits, 2), dtype=np.int64)  # keys, which are not 0; rows

    def of(self, keys: Ints) -> tuple[Ints, Ints, Ints]:
        """Rows of keys, (N,); which of them are not known, (n,); and the slots of all keys."""
        slots = keys * SPREAD
        slots >>= 63 - self._bits
        slots &= (1 << self._bits) - 1
        pairs = self._slots.take(slots, axis=0)
        missed = (pairs[:, 0] != keys).nonzero()[0]
        return pairs[:, 1], missed, slots

    def put(self, slots: Ints, keys: Ints, rows: Sequence[int]) -> None:
        """Remembers rows in slots that `of` has told, (n,) each."""
        self._slots[slots, 0], self._slots[slots, 1] = keys, rows


def _wider(known: Ints, rows: object) -> Ints:
    """An array (limits, groups) with new groups: their rows, one value a limit, as columns."""
    columns = np.asarray(rows, dtype=np.int64).reshape(-1, len(known)) if len(known) else None
    return known if columns is None else np.concatenate([known, columns.T], axis=1)
