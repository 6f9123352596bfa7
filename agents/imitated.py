"""Networks as steps of an environment: what a policy saw before each token, to imitate the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emnas_gym.automaton import Automaton
from emnas_gym.ledger import Ledger


@dataclass(frozen=True)
class Steps:
    """The steps of one or more networks, one after the other."""

    ids: Tensor  # (S, T) int64, tokens before each step, filled up with 0
    tokens: Tensor  # (S,) int64, tokens placed
    masks: Tensor  # (S, K + 1) bool, legal tokens
    starts: Tensor  # (S,) float32, 1 where a network starts

    @classmethod
    def of(cls, table: Automaton, network: Sequence[int]) -> Steps:
        """The steps of one network, or of its beginning."""
        ids = np.zeros((len(network), table.max_layers), dtype=np.int64)
        cursor, masks = table.start(), []
        for placed, token in enumerate(network):
            ids[placed, :placed] = network[:placed]
            masks.append(table.mask(cursor))
            table.step(cursor, int(token))
        starts = torch.zeros(len(network))
        starts[0] = 1.0
        flags = torch.from_numpy(np.stack(masks)).bool()
        return cls(torch.from_numpy(ids), torch.tensor(list(network)), flags, starts)

    @classmethod
    def join(cls, parts: Sequence[Steps]) -> Steps:
        """Several one after the other."""
        return cls(
            torch.cat([part.ids for part in parts]),
            torch.cat([part.tokens for part in parts]),
            torch.cat([part.masks for part in parts]),
            torch.cat([part.starts for part in parts]),
        )


def best_steps(ledger: Ledger, count: int) -> Steps:
    """The steps of the best networks of different behaviour that were measured.

    Args:
        ledger: With one row or more.
        count: How many networks at most.
    """
    ranked = sorted(ledger.rows, key=lambda row: -row.reward)
    best: dict[tuple[int, ...], tuple[int, ...]] = {}
    for row in ranked:
        best.setdefault(row.canonical, row.tokens)
        if len(best) == count:
            break
    return Steps.join([Steps.of(ledger.problem.automaton, tokens) for tokens in best.values()])
