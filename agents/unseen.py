"""Which tokens still lead to a network that was not played: beginnings that are used up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from emnas_gym.automaton import Automaton


@dataclass
class _Beginning:
    """A beginning that was played.

    Attributes:
        legal: Number of tokens that are legal next.
        played: Token → what follows it; None where all that follows was played.
    """

    legal: int
    played: dict[int, _Beginning | None] = field(default_factory=dict)

    @property
    def used_up(self) -> bool:
        return len(self.played) == self.legal and all(b is None for b in self.played.values())


class Unseen:
    """The networks of an automaton that were not played, as a tree of those that were.

    Once all were played it starts anew.

    Args:
        table: What is legal.
    """

    def __init__(self, table: Automaton) -> None:
        self.table = table
        self._root = _Beginning(len(table.legal(table.start())))

    def add(self, tokens: Sequence[int]) -> None:
        """Notes that a network was played."""
        cursor, path = self.table.start(), [self._root]
        for token in tokens[:-1]:
            self.table.step(cursor, int(token))
            after = path[-1].played.setdefault(int(token), _Beginning(-1))
            if after is None:
                return  # known: nothing new follows
            if after.legal < 0:
                after.legal = len(self.table.legal(cursor))
            path.append(after)
        path[-1].played[int(tokens[-1])] = None
        for before, token, after in zip(path[-2::-1], tokens[-2::-1], path[:0:-1], strict=True):
            if not after.used_up:
                return
            before.played[int(token)] = None
        if self._root.used_up:
            self._root = _Beginning(self._root.legal)

    def open(self, begun: Sequence[int], mask: NDArray[np.int8]) -> NDArray[np.int8]:
        """The mask without tokens after which every network was played.

        Args:
            begun: Tokens so far.
            mask: What is legal next, shape (K + 1,).

        Returns:
            A new mask; the given one if nothing is left of it.
        """
        at: _Beginning | None = self._root
        for token in begun:
            at = at.played.get(int(token)) if at is not None else None
            if at is None:
                return mask
        assert at is not None
        closed = [token for token, after in at.played.items() if after is None]
        left = mask.copy()
        left[closed] = 0
        return left if left.any() else mask
