"""What all mended policies share: masks, keys of like layers, lengths at the start."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from agents.lengths import end_probability, logit
from agents.token_features import token_features
from emnas_gym.problem import Problem

ILLEGAL = -1e9  # a logit whose probability is exactly 0, while all gradients stay finite
State = tuple[Tensor, ...]


class MaskedPolicy(nn.Module, ABC):
    """π(token | tokens before it, context), over legal tokens alone.

    A subclass turns what was placed into queries. The logit of a token is a query times the key of
    the token, which is linear in the details of its layer, plus a part of its own that starts at 0.
    Queries start at 0, so all legal tokens are as likely as each other, but for the end token,
    whose offset makes lengths about uniform.

    Args:
        problem: Space and lengths.
        width: Width of queries and keys.
        inputs: Width of what `query_of` makes queries from.
    """

    end_offset: Tensor  # (T,)
    features: Tensor  # (K + 1, F)

    def __init__(self, problem: Problem, width: int, inputs: int) -> None:
        super().__init__()
        features = torch.from_numpy(token_features(problem.space))
        offset = torch.from_numpy(logit(end_probability(problem.automaton))).float()
        self.end_token, self.length = problem.space.end_token, problem.max_layers
        self.register_buffer("features", features)
        self.register_buffer("end_offset", offset)
        self.key = nn.Linear(features.shape[1], width)
        self.own_key = nn.Parameter(torch.zeros(len(features), width))
        self.query_of = zeroed(nn.Linear(inputs, width))

    @abstractmethod
    def start(self, context: Tensor) -> State:
        """The state before the first token.

        Args:
            context: A sequence that the policy may look at, filled up with 0, shape (B, T).
        """

    @abstractmethod
    def advance(self, last: Tensor, state: State, placed: int) -> tuple[Tensor, State]:
        """Reads one token.

        Args:
            last: Token placed last, 0 before the first; shape (B,).
            state: The state before.
            placed: Number of tokens placed.

        Returns:
            What `query_of` makes the next query from, shape (B, inputs), and the new state.
        """

    def step(self, last: Tensor, state: State, mask: Tensor, placed: int) -> tuple[Tensor, State]:
        """Reads one token and gives the distribution of the next.

        Args:
            last: Token placed last, 0 before the first; shape (B,).
            state: The state before.
            mask: Legal tokens, shape (B, K + 1).
            placed: Number of tokens placed.

        Returns:
            Log-probabilities, shape (B, K + 1), and the new state.
        """
        latent, state = self.advance(last, state, placed)
        return self.distribution(latent, mask, placed), state

    def distribution(self, latent: Tensor, mask: Tensor, placed: int) -> Tensor:
        """Log-probabilities of the legal tokens, shape (B, K + 1)."""
        keys = self.key(self.features) + self.own_key
        logits: Tensor = self.query_of(latent) @ keys.T / math.sqrt(keys.shape[1])
        logits = logits + self.offset(mask, placed)
        return logits.masked_fill(~mask, ILLEGAL).log_softmax(dim=1)

    def offset(self, mask: Tensor, placed: int) -> Tensor:
        """What is added to logits, shape (B, K + 1): the end token against all others together."""
        offset = torch.zeros(mask.shape)
        others = mask.sum(dim=1) - mask[:, self.end_token].long()
        offset[:, self.end_token] = self.end_offset[placed] + others.clamp(min=1).log()
        return offset

    def forward(self, tokens: Tensor, masks: Tensor, context: Tensor) -> Tensor:
        """Log-probabilities of every token at every position of given sequences.

        Args:
            tokens: Sequences filled up with 0, shape (B, T).
            masks: Legal tokens before each position, shape (B, T, K + 1); after the end 0 alone.
            context: Shape (B, T).

        Returns:
            Shape (B, T, K + 1).
        """
        last, state, steps = torch.zeros_like(tokens[:, 0]), self.start(context), []
        for placed in range(tokens.shape[1]):
            log_probs, state = self.step(last, state, masks[:, placed], placed)
            steps.append(log_probs)
            last = tokens[:, placed]
        return torch.stack(steps, dim=1)


def zeroed(layer: nn.Linear) -> nn.Linear:
    """A linear layer that gives 0 until it has learned something."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
