"""An autoregressive policy over tokens whose logits are shared between tokens of like layers."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.lengths import end_probability, logit
from agents.token_features import token_features
from emnas_gym.problem import Problem

CELLS = ("gru", "lstm")
ILLEGAL = -1e9  # logit whose probability is exactly 0, while all gradients stay finite


class TokenPolicy(nn.Module):
    """π(token | tokens before it), a recurrent network that asks for layers by their details.

    It is a GRU or an LSTM (Zoph and Le 2017 use one), which reads the details of each token; its
    output becomes a query, and the logit of a token is the query times the token's key. Embeddings
    and keys are linear in the details of the layer, plus a part of the token's own that starts at
    0. A fixed offset of the end token makes lengths about uniform at the start, when all else is 0.

    Args:
        problem: Space and lengths.
        hidden: Width of the recurrent state.
        width: Width of embeddings, queries and keys.
        cell: ``"gru"`` or ``"lstm"``.
    """

    end_offset: Tensor  # (T,)
    features: Tensor  # (K + 1, F)

    def __init__(self, problem: Problem, hidden: int, width: int, cell: str = "gru") -> None:
        super().__init__()
        features = token_features(problem.space)
        self.end_token = problem.space.end_token
        self.register_buffer("features", torch.from_numpy(features))
        self.register_buffer("end_offset", _tensor(logit(end_probability(problem.automaton))))
        self.embed = nn.Linear(features.shape[1], width)
        self.key = nn.Linear(features.shape[1], width)
        self.own_embedding = nn.Parameter(torch.zeros(len(features), width))
        self.own_key = nn.Parameter(torch.zeros(len(features), width))
        self.hidden = hidden
        self.cell: nn.GRUCell | nn.LSTMCell = (
            nn.LSTMCell(width, hidden) if cell == "lstm" else nn.GRUCell(width, hidden)
        )
        self.query = nn.Linear(hidden, width)
        nn.init.zeros_(self.query.weight)
        nn.init.zeros_(self.query.bias)

    def start(self, batch: int) -> Tensor:
        """The state before the first token, shape (batch, H); of an LSTM (batch, 2 H)."""
        parts = 2 if isinstance(self.cell, nn.LSTMCell) else 1
        return self.features.new_zeros(batch, parts * self.hidden)

    def step(self, last: Tensor, state: Tensor, mask: Tensor, placed: int) -> tuple[Tensor, Tensor]:
        """Reads one token and gives the distribution of the next.

        Args:
            last: Token placed last, 0 before the first; shape (B,).
            state: State as `start` and `step` give it.
            mask: Legal tokens, shape (B, K + 1).
            placed: Number of layers placed.

        Returns:
            Log-probabilities, shape (B, K + 1), and the new state.
        """
        state = self._read(last, state)
        keys = self.key(self.features) + self.own_key
        logits = self.query(state[:, : self.hidden]) @ keys.T / math.sqrt(keys.shape[1])
        return self._mask(logits, mask, placed), state

    def _read(self, last: Tensor, state: Tensor) -> Tensor:
        """The state after a token; the first H of it are the output of the cell."""
        embedding = self.embed(self.features[last]) + self.own_embedding[last]
        if isinstance(self.cell, nn.LSTMCell):
            output, memory = state.chunk(2, dim=1)
            return torch.cat(self.cell(embedding, (output, memory)), dim=1)
        read: Tensor = self.cell(embedding, state)
        return read

    def _mask(self, logits: Tensor, mask: Tensor, placed: int) -> Tensor:
        """Legal tokens alone, the end token offset against the number of the others."""
        others = mask.sum(dim=1) - mask[:, self.end_token].long()
        offset = torch.zeros_like(logits)
        offset[:, self.end_token] = self.end_offset[placed] + others.clamp(min=1).log()
        return (logits + offset).masked_fill(~mask, ILLEGAL).log_softmax(dim=1)

    def forward(self, tokens: Tensor, masks: Tensor) -> Tensor:
        """Log-probabilities of every token at every position of given sequences.

        Args:
            tokens: Sequences filled up with 0, shape (B, T).
            masks: Legal tokens before each position, shape (B, T, K + 1); after the end 0 alone.

        Returns:
            Shape (B, T, K + 1).
        """
        last, state = torch.zeros_like(tokens[:, 0]), self.start(len(tokens))
        steps = []
        for placed in range(tokens.shape[1]):
            log_probs, state = self.step(last, state, masks[:, placed], placed)
            steps.append(log_probs)
            last = tokens[:, placed]
        return torch.stack(steps, dim=1)


def _tensor(values: NDArray[np.float64]) -> Tensor:
    return torch.from_numpy(values.astype(np.float32))
