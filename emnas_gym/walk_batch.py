"""Many walks through an automaton at once: every step is a handful of array operations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emnas_gym.cost_vectors import COLUMNS, HEAD, Costs
from emnas_gym.masks import MaskTable
from emnas_gym.walks import Walks

Ints = NDArray[np.int64]
Rows = Ints | slice


class WalkBatch:
    """N walks; all start at once. L is the largest number of tokens.

    What is kept of a walk step by step lies in rows, since walks stand at different steps; what is
    kept of it as a whole lies in columns, since all walks are asked for it together.

    Attributes:
        state: (N,), state of the automaton; −1 once the output layer is placed.
        tokens: (N, L), tokens so far, filled up with 0.

    Args:
        table: The masks.
        count: N.
    """

    def __init__(self, table: MaskTable, count: int) -> None:
        self.table, self.automaton = table, table.automaton
        length = self.automaton.max_layers
        self._moves, self._width = self.automaton.moves, self.automaton.width
        self.state = np.zeros(count, np.int64)
        self.tokens = np.zeros((count, length), np.int64)
        self._places = np.zeros((count, length), np.int64)  # see `Walks`
        self._starts = np.arange(0, count * length, length)
        self._next = self._starts.copy()  # where in both, flat, the next step of each walk goes
        self._base = self.automaton.base[:, None]
        self._spent = np.repeat(self._base, count, axis=1)

    @property
    def placed(self) -> Ints:
        """Tokens so far, (N,)."""
        return self._next - self._starts

    @property
    def spent(self) -> Costs:
        """Costs so far (`cost_vectors`), (N, 5)."""
        return self._spent.T

    def restart(self, rows: Rows) -> None:
        """Starts some walks anew, without tokens."""
        self.state[rows] = 0
        self._next[rows] = self._starts[rows]
        self.tokens[rows] = 0
        self._places[rows] = 0
        self._spent[:, rows] = self._base

    def place(self, rows: Rows, tokens: Ints) -> None:
        """Places a legal token in some walks."""
        at, places = self._next[rows], self.state[rows] * self._width
        places += tokens
        self.tokens.reshape(-1)[at] = tokens
        self._places.reshape(-1)[at] = places
        moves = self._moves.take(places, axis=0).T.astype(np.int64, order="C")  # to columns
        spent = self._spent[:, rows]  # a view where rows are a slice
        heads = np.maximum(spent[HEAD], moves[HEAD])
        spent += moves[:COLUMNS]
        spent[HEAD] = heads
        if not isinstance(rows, slice):
            self._spent[:, rows] = spent
        self.state[rows] = moves[COLUMNS]
        self._next[rows] = at + 1

    def masks(self, over: NDArray[np.bool_] | None) -> Ints:
        """The rows of the table that hold the masks, shape (N,).

        Args:
            over: (N,), walks that are over though not at their end; None if there are none.
        """
        state = self.state if over is None else np.where(over, -1, self.state)
        return self.table.rows_of(state, self.placed, self.spent)

    def walks(self, rows: Ints) -> Walks:
        """Some walks that are at their end."""
        return Walks(
            self.automaton,
            self.tokens.take(rows, axis=0).astype(np.int16),
            self._places.take(rows, axis=0).T.copy().T,
            self._next.take(rows) - self._starts.take(rows),
            self._spent.take(rows, axis=1).T,
        )
