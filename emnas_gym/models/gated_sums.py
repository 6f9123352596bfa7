"""Sums through which layers pass one after the other, made by pairs of layers for many at once.

Two steps ``s → keep · s + add`` in a row are one of the same form, so that a sum over L layers is
made in about log2 L rounds: pairs, pairs of pairs and so on (Martin and Cundy 2018, "Parallelizing
linear recurrent neural nets over sequence length"). Which layers pair up is fixed by their places
alone, so that every batch rounds alike. Places are laid out such that in every round those that
come first and those that come later are one block each, which numpy works through without a loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

AT_ONCE = 1024  # networks whose sums are made together
Single = NDArray[np.float32]
Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Gates:
    """What R layers do to a sum of width S.

    Attributes:
        keep: (R, S), the share of the sum before that stays, value by value.
        add: (R, S), what is added to it.
    """

    keep: Single
    add: Single

    def __len__(self) -> int:
        """R."""
        return len(self.keep)

    def joined(self, later: Gates) -> Gates:
        """The layers of both, one after the other."""
        keep = np.concatenate([self.keep, later.keep])
        return Gates(keep, np.concatenate([self.add, later.add]))


@dataclass(frozen=True)
class _Round:
    """One round: blocks of the layout.

    Attributes:
        first: The earlier ones of all pairs; they hold what the pairs do afterwards.
        second: The later ones.
        kept: Of the first block those whose share is still asked for.
        shares: Where in the second block their partners are.
    """

    first: slice
    second: slice
    kept: slice
    shares: slice


@dataclass(frozen=True, eq=False)
class _Layout:
    """How L places are laid out.

    Attributes:
        order: (L,), the place of a layer in its network, for every place of the layout.
        rounds: Their blocks.
        total: Where the sum stands in the end.
    """

    order: NDArray[np.int64]
    rounds: tuple[_Round, ...]
    total: int


def sums(gates: Gates, rows: Rows) -> Single:
    """The sum after the last layer, shape (N, S); it begins with 0.

    Args:
        gates: Of the layers that rows name.
        rows: (N, L), the layers of each network in their order.
    """
    layout, places = _layout(rows.shape[1]), rows.T
    if len(rows) <= AT_ONCE:
        return _by_pairs(gates, places, layout)
    parts = range(0, len(rows), AT_ONCE)
    return np.concatenate([_by_pairs(gates, places[:, i : i + AT_ONCE], layout) for i in parts])


def _by_pairs(gates: Gates, places: Rows, layout: _Layout) -> Single:
    """The same of rows by place, shape (L, N)."""
    places = places.take(layout.order, axis=0)
    keep, add = gates.keep.take(places, axis=0), gates.add.take(places, axis=0)
    for pairs in layout.rounds:
        share, before = keep[pairs.second], add[pairs.first]
        before *= share
        before += add[pairs.second]
        kept = keep[pairs.kept]
        if len(kept):
            kept *= share[pairs.shares]
    total: Single = add[layout.total]
    return total


@lru_cache(maxsize=64)
def _layout(length: int) -> _Layout:
    blocks = []
    start, size = 0, length  # of the block that still holds what is summed
    while size > 1:
        half = size // 2
        first, second = (start + half, start) if size % 2 else (start, start + half)
        blocks.append((first, second, half))
        start, size = first, size - half
    rounds = []
    for first, second, half in blocks:
        skip = int(first == start)  # before the very first layer there is nothing to be kept
        kept, shares = slice(first + skip, first + half), slice(skip, half)
        pairs = slice(first, first + half), slice(second, second + half)
        rounds.append(_Round(*pairs, kept, shares))
    return _Layout(np.array(_order(length), dtype=np.int64), tuple(rounds), start)


def _order(length: int) -> list[int]:
    """Places such that the later partners of the first round are a block in the others' order.

    An odd number leaves the last place without a partner: its block comes last, and it ends it.
    """
    if length < 2:
        return list(range(length))
    inner = _order((length + 1) // 2)
    earlier = [2 * i for i in inner]
    later = [2 * i + 1 for i in inner if 2 * i + 1 < length]
    return later + earlier if length % 2 else earlier + later
