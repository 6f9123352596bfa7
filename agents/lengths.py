"""How a policy starts with networks of about uniform length.

Uniform legal tokens end a network with one choice among hundreds: nearly all would have the
largest length. If n of the feasible lengths are still ahead, ending with probability 1/n makes
every length equally likely.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emnas_gym.automaton import Automaton

NEVER, ALWAYS = 1e-6, 1.0 - 1e-6  # probabilities with finite logits


def end_probability(table: Automaton) -> NDArray[np.float64]:
    """Probability of the end token after each number of layers, shape (max_layers,).

    Where the last position ends a network without a token, it is never placed.
    """
    if not table.grammar.end_token:
        return np.full(table.max_layers, NEVER)
    lengths = np.array(table.feasible_lengths)
    placed = np.arange(table.max_layers)
    ahead = (lengths[None] > placed[:, None]).sum(axis=1)
    ends_here = np.isin(placed + 1, lengths)
    hazard: NDArray[np.float64] = np.where(ends_here, 1.0 / np.maximum(ahead, 1), 0.0)
    return np.clip(hazard, NEVER, ALWAYS)


def logit(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(p / (1 − p))."""
    odds: NDArray[np.float64] = np.log(probability) - np.log1p(-probability)
    return odds


def end_logits(table: Automaton, masked: bool) -> NDArray[np.float64]:
    """Logits of the end token that give `end_probability` where all other logits are 0.

    They grow with the number of other tokens that build on a state. Without a mask an illegal
    token is replaced by a legal one, which may be the end token; that share is taken off.

    Args:
        table: Space, lengths, budgets.
        masked: Whether the policy sees masks.

    Returns:
        Shape (states, max_layers): for each state of the automaton and number of layers placed.
    """
    hazard, tokens = end_probability(table)[None], table.grammar.num_tokens
    if not table.grammar.end_token:
        return np.repeat(logit(hazard), len(table.states), axis=0)
    others = np.maximum((table.next_state >= 0).sum(axis=1), 1)[:, None]
    if not masked:
        replaced = (1.0 - others / tokens) / (others + 1.0)
        hazard = np.clip((hazard - replaced) / (1.0 - replaced), NEVER, ALWAYS)
    logits: NDArray[np.float64] = logit(hazard) + np.log(others if masked else tokens)
    return logits
