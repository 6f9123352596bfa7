"""How a policy starts with networks of about uniform length.

Uniform legal tokens end a network with one choice among hundreds: nearly all would have the
largest length. If n of the feasible lengths are still ahead, ending with probability 1/n makes
every length equally likely.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emnas_gym.automaton import Automaton
from emnas_gym.grammar import Grammar, Mode

NEVER, ALWAYS = 1e-6, 1.0 - 1e-6  # probabilities with finite logits


def end_probability(table: Automaton) -> NDArray[np.float64]:
    """Probability of the end token after each number of layers, shape (max_layers,)."""
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


def modes(grammar: Grammar) -> tuple[Mode, ...]:
    """Every set of kinds with an ``after`` rule; the i-th holds the kinds of the bits of i."""
    kinds = list(grammar.after)
    count = 1 << len(kinds)
    return tuple(frozenset(k for b, k in enumerate(kinds) if i >> b & 1) for i in range(count))


def end_logits(table: Automaton, masked: bool) -> NDArray[np.float64]:
    """Logits of the end token that give `end_probability` where all other logits are 0.

    They depend on how many other tokens the rules allow. Without a mask an illegal token is
    replaced by a legal one, which may be the end token; that share is taken off.

    Args:
        table: Space, lengths, budgets.
        masked: Whether the policy sees masks.

    Returns:
        Shape (modes, max_layers).
    """
    grammar, hazard = table.grammar, end_probability(table)
    bodies = [spec.kind for spec in grammar.specs if spec.kind != "output"]
    rows = []
    for mode in modes(grammar):
        others = max(sum(grammar.allows(mode, kind) for kind in bodies), 1)
        if masked:
            rows.append(logit(hazard) + np.log(others))
            continue
        replaced = (1.0 - others / grammar.num_tokens) / (others + 1)
        wanted = np.clip((hazard - replaced) / (1.0 - replaced), NEVER, ALWAYS)
        rows.append(logit(wanted) + np.log(grammar.num_tokens))
    return np.stack(rows)
