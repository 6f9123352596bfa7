"""Many walks through an automaton at once: every step is a handful of array operations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emnas_gym.cost_vectors import HEAD
from emnas_gym.masks import MaskTable
from emnas_gym.walks import Walks

Ints = NDArray[np.int64]
Rows = Ints | slice


class WalkBatch:
    """N walks; all start at once. L is the largest number of tokens.

    Attributes:
        state: (N,), state of the automaton; −1 once the output layer is placed.
        placed: (N,), tokens so far.
        tokens: (N, L), tokens so far, filled up with 0.
        spent: (N, 5), costs so far (`cost_vectors`).

    Args:
        table: The masks.
        count: N.
    """

    def __init__(self, table: MaskTable, count: int) -> None:
        automaton = table.automaton
        self.table, self.automaton = table, automaton
        self._size, length = automaton.grammar.num_tokens + 1, automaton.max_layers
        self._next = automaton.next_state.ravel()
        self._price = automaton.price.reshape(-1, automaton.price.shape[-1])
        self._starts = np.arange(count) * length
        self.state, self.placed = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self.tokens = np.zeros((count, length), np.int64)
        self._states = np.full((count, length), -1, np.int32)
        self.spent = np.empty((count, len(automaton.base)), np.int64)
        self.spent[:] = automaton.base

    def restart(self, rows: Rows) -> None:
        """Starts some walks anew, without tokens."""
        self.state[rows] = 0
        self.placed[rows] = 0
        self.tokens[rows] = 0
        self._states[rows] = -1
        self.spent[rows] = self.automaton.base

    def place(self, rows: Rows, tokens: Ints) -> None:
        """Places a legal token in some walks."""
        state, placed = self.state[rows], self.placed[rows]
        at = self._starts[rows] + placed
        self.tokens.reshape(-1)[at] = tokens
        self._states.reshape(-1)[at] = state
        move = state * self._size + tokens
        price = self._price.take(move, axis=0, mode="clip")
        spent = self.spent[rows]  # a view where rows are a slice
        heads = np.maximum(price[:, HEAD], spent[:, HEAD])
        spent += price
        spent[:, HEAD] = heads
        if not isinstance(rows, slice):
            self.spent[rows] = spent
        self.state[rows] = self._next.take(move)
        self.placed[rows] = placed + 1

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
            self.tokens[rows].astype(np.int16),
            self._states[rows],
            self.placed[rows],
            self.spent[rows],
        )
