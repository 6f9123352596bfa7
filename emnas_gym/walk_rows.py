"""Which described layer each step of a walk is: one look-up, where a state and a token meet."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from emnas_gym.automaton import Automaton
from emnas_gym.features import layer_table
from emnas_gym.walks import Walks

UNMET = -1


class WalkRows:
    """Rows of `emnas_gym.features.LayerTable` for the states and tokens of an automaton.

    Layers are described when a walk first passes them; what behaves alike has one row, and a token
    without effect has none.

    Args:
        automaton: Through which the walks go.
    """

    def __init__(self, automaton: Automaton) -> None:
        self._automaton = automaton
        self.table = layer_table(automaton.grammar, automaton.task)
        self._canonical = automaton.grammar.canonical_token
        self._rows: NDArray[np.int64] = np.full(automaton.next_state.shape, UNMET, dtype=np.int64)
        idle = [token for token, first in enumerate(self._canonical) if not first]
        self._rows[:, idle] = 0  # token 0, which stands after the end, is one of them
        self._flat = self._rows.reshape(-1)
        self._gaps = len(idle) > 1

    def of(self, walks: Walks) -> NDArray[np.int64]:
        """Rows of the layers of each walk, shape (N, longest of the space), 0 after the end."""
        places = walks.places.T
        found = self._flat.take(places)
        unmet = found == UNMET
        if np.count_nonzero(unmet):
            self._meet(places[unmet])
            found = self._flat.take(places)
        rows: NDArray[np.int64] = found.T
        if self._gaps:
            order = (rows == 0).argsort(axis=1, kind="stable")
            rows = np.take_along_axis(rows, order, axis=1)
        missing = self._automaton.grammar.max_layers - rows.shape[1]
        return np.pad(rows, ((0, 0), (0, missing))) if missing else rows

    def _meet(self, places: NDArray[np.int64]) -> None:
        for place in sorted(set(places.tolist())):
            state, token = divmod(place, self._rows.shape[1])
            shape = self._automaton.states[state][0]
            self._rows[state, token] = self.table.row(shape, self._canonical[token])


@lru_cache(maxsize=32)
def walk_rows(automaton: Automaton) -> WalkRows:
    """The rows of an automaton, shared by a process."""
    return WalkRows(automaton)
