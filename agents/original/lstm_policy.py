"""A policy that steps through the tokens with two LSTM layers, as the original should have."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from agents.original.masked_policy import MaskedPolicy, State
from emnas_gym.problem import Problem

HIDDEN = 100


class LSTMPolicy(MaskedPolicy):
    """Two LSTM cells of 100 units that read one token a step.

    Args:
        problem: Space and lengths.
        width: Width of embeddings, queries and keys.
        by_id: Whether a token is read as its number, by an embedding of its own, or as the details
            of its layer.
    """

    def __init__(self, problem: Problem, width: int, by_id: bool) -> None:
        super().__init__(problem, width, HIDDEN)
        self.embed: nn.Module
        if by_id:
            self.embed = nn.Embedding(len(self.features), width)
        else:
            self.embed = nn.Linear(self.features.shape[1], width)
        self.by_id = by_id
        self.first = nn.LSTMCell(width, HIDDEN)
        self.second = nn.LSTMCell(HIDDEN, HIDDEN)

    def start(self, context: Tensor) -> State:
        """States of both cells, all 0; the context is not looked at."""
        return tuple(torch.zeros(len(context), HIDDEN) for _ in range(4))

    def advance(self, last: Tensor, state: State, placed: int) -> tuple[Tensor, State]:
        """The output of the second cell."""
        h1, c1, h2, c2 = state
        h1, c1 = self.first(self.embed(last if self.by_id else self.features[last]), (h1, c1))
        h2, c2 = self.second(h1, (h2, c2))
        return h2, (h1, c1, h2, c2)
