"""Which tokens may stand at each position in any network at all: masks for whole sequences."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from emnas_gym.automaton import Automaton

Mask = NDArray[np.int8]


def rows_of(automaton: Automaton) -> int:
    """Tokens of a whole sequence that are to be chosen: all but an end token at the last place."""
    return automaton.max_layers - bool(automaton.grammar.end_token)


@lru_cache(maxsize=32)
def position_masks(automaton: Automaton) -> Mask:
    """Tokens that occur at a position in at least one walk of the automaton, costs apart.

    Nothing is known of what stands at the other positions, so a sequence that obeys all rows can
    still be illegal. Class 0, "no layer from here on", is allowed where a network can be over, or
    be ended, at that position.

    Returns:
        Shape (rows, K + 1), ones where allowed; not to be written to.
    """
    following: NDArray[np.int64] = automaton.next_state
    ends: NDArray[np.bool_] = following == -1
    alive = _finishable(automaton)
    reached = np.zeros(len(following), dtype=np.bool_)
    reached[0] = True
    masks = np.zeros((rows_of(automaton), following.shape[1]), dtype=np.int8)
    for position, mask in enumerate(masks):
        low = max(automaton.min_layers - position - 1, 0)
        can_end: NDArray[np.bool_] = np.any(alive[low : automaton.max_layers - position], axis=0)
        inner = (following >= 0) & can_end[np.maximum(following, 0)] & reached[:, None]
        over = ends & reached[:, None] & (low == 0)
        mask[(inner | over).any(axis=0)] = 1
        mask[0] = bool(automaton.grammar.end_token) and low == 0
        reached = np.zeros_like(reached)
        reached[np.unique(following[inner])] = True
    masks.flags.writeable = False
    return masks


def _finishable(automaton: Automaton) -> NDArray[np.bool_]:
    """Whether a state can be finished with r further tokens, shape (max_layers, states)."""
    following = automaton.next_state
    alive = np.zeros((automaton.max_layers, len(following)), dtype=np.bool_)
    after = (following == -1).any(axis=1)
    for r in range(1, automaton.max_layers):
        alive[r] = after
        after = ((following >= 0) & after[np.maximum(following, 0)]).any(axis=1)
    return alive
