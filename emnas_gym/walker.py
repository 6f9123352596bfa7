"""One walk through an automaton, a token at a time, in Python's own numbers: the fast way for one.

`WalkBatch` is the same for many; both take masks from one `MaskTable`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emnas_gym.cost_vectors import Spent
from emnas_gym.masks import MaskTable
from emnas_gym.walks import Walks


class Walker:
    """One walk; it starts at once.

    Attributes:
        state: Index of the state of the automaton; −1 once the output layer is placed.
        spent: Costs so far: flash, MACs, and the parts of RAM (`cost_vectors`).
        tokens: (L,) int64, tokens so far, filled up with 0.
        placed: Number of tokens so far.

    Args:
        table: The masks.
    """

    def __init__(self, table: MaskTable) -> None:
        self._table, self._move = table, table.automaton.move
        self._width = table.automaton.width
        self._base: Spent = tuple(table.automaton.base.tolist())
        self.tokens = np.zeros(table.automaton.max_layers, dtype=np.int64)
        self.restart()

    def restart(self) -> None:
        """Starts anew, without tokens."""
        self.tokens[:] = 0
        self.state, self.placed, self.spent = 0, 0, self._base
        self._places: list[int] = []
        self._look_up()

    def _look_up(self) -> None:
        row = self._table.row(self.state, self.placed, self.spent)
        self._mask: NDArray[np.int8] = self._table.rows[row]

    @property
    def done(self) -> bool:
        """Whether the output layer is placed."""
        return self.state < 0

    def allows(self, token: int) -> bool:
        """Whether a token is legal next."""
        return bool(self._mask[token])

    def mask(self) -> NDArray[np.int8]:
        """Legal tokens as ones, shape (K + 1,); fresh."""
        return self._mask.copy()

    def legal(self) -> NDArray[np.int64]:
        """Legal tokens, ascending."""
        return np.flatnonzero(self._mask)

    def place(self, token: int) -> None:
        """Places a legal token."""
        self.tokens[self.placed] = token
        place = self.state * self._width + token
        self._places.append(place)
        self.placed += 1
        self.state, flash, macs, kept, head, planning = self._move(place)
        all_flash, all_macs, all_kept, largest, all_planning = self.spent
        self.spent = (
            all_flash + flash,
            all_macs + macs,
            all_kept + kept,
            head if head > largest else largest,
            all_planning + planning,
        )
        self._look_up()

    def walks(self) -> Walks:
        """The finished walk as a batch of one."""
        places = np.zeros((1, len(self.tokens)), dtype=np.int64)
        places[0, : self.placed] = self._places
        return Walks(
            self._table.automaton,
            self.tokens.astype(np.int16)[None],
            places,
            np.array([self.placed], dtype=np.int64),
            np.array([self.spent], dtype=np.int64),
        )
