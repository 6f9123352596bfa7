"""A table that grows by rows, without being copied at every one of them."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Kind = TypeVar("Kind", bound=np.generic)


class GrowingRows(Generic[Kind]):
    """Rows of one array; room for as many again is made whenever there is none left.

    Args:
        first: (R, ...), the first rows, one or more.
    """

    def __init__(self, first: NDArray[Kind]) -> None:
        self._room, self._count = first.copy(), len(first)

    def __len__(self) -> int:
        """Number of rows."""
        return self._count

    @property
    def rows(self) -> NDArray[Kind]:
        """All rows, (R, ...), no copy; what was appended later is not in it."""
        return self._room[: self._count]

    def append(self, block: NDArray[Kind]) -> None:
        """Adds rows, (n, ...)."""
        count = self._count + len(block)
        if count > len(self._room):
            room = np.zeros((2 * count, *self._room.shape[1:]), dtype=self._room.dtype)
            room[: self._count] = self.rows
            self._room = room
        self._room[self._count : count] = block
        self._count = count
