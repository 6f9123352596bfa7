"""Token ids as the input of Stable-Baselines3 policies: embedded, not one-hot."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from agents.lengths import end_logits
from agents.token_features import token_features
from emnas_gym.problem import Problem


class TokenEmbedding(BaseFeaturesExtractor):
    """Features of a sequence of token ids, for observation ``"ids"``.

    Each token is embedded by the details of its layer plus a part of its own that starts at 0;
    beside the embeddings stand, as one-hot, the number of layers and, as logarithms, the height,
    width and channels that the chain has reached.

    Example:
        ``PPO("MlpPolicy", env, policy_kwargs={"features_extractor_class": TokenEmbedding,
        "features_extractor_kwargs": {"problem": env.unwrapped.problem}})``

    Args:
        observation_space: ``Box`` of ids, shape (T,).
        problem: Space, task, lengths, budgets.
        width: Width of an embedding.
        end_of: Appends one feature, the logit at which the end token makes lengths about uniform:
            for a policy that is ``"masked"`` or ``"unmasked"``; see `agents.lengths`.
    """

    features: Tensor  # (K + 1, F)
    next_state: Tensor  # (S, K + 1)
    shapes: Tensor  # (S, 3)
    end_logits: Tensor  # (S, T)

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        problem: Problem,
        width: int = 16,
        end_of: str = "",
    ) -> None:
        table, length = problem.automaton, problem.max_layers
        features = torch.from_numpy(token_features(problem.space))
        self.appends = bool(end_of)
        super().__init__(observation_space, length * (width + 1) + 3 + self.appends)
        # After the end, and where no token stands, the state remains what it was.
        stay = np.arange(len(table.states))[:, None]
        moves = np.where(table.next_state >= 0, table.next_state, stay)
        logits = end_logits(table, end_of == "masked").astype(np.float32)
        self.register_buffer("features", features)
        self.register_buffer("next_state", torch.from_numpy(moves))
        self.register_buffer("shapes", _log_shapes([shape for shape, _ in table.states]))
        self.register_buffer("end_logits", torch.from_numpy(logits))
        self.embed = nn.Linear(features.shape[1], width)
        self.own = nn.Parameter(torch.zeros(len(features), width))

    def forward(self, observations: Tensor) -> Tensor:
        """Embeds ids of shape (B, T); the result has shape (B, features)."""
        ids = observations.long()
        layers = (self.embed(self.features) + self.own)[ids].flatten(1)
        placed, state = self.situation(ids)
        count = nn.functional.one_hot(placed, ids.shape[1]).to(layers.dtype)
        parts = [layers, count, self.shapes[state]]
        if self.appends:
            parts.append(self.end_logits[state, placed][:, None])
        return torch.cat(parts, dim=1)

    def situation(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Number of layers placed, and the automaton's state; both of shape (B,)."""
        state = torch.zeros_like(ids[:, 0])
        for token in ids.T:
            state = self.next_state[state, token]
        return (ids > 0).sum(dim=1).clamp(max=ids.shape[1] - 1), state


def _log_shapes(shapes: list[tuple[int, ...]]) -> Tensor:
    """Logarithms of (height, width, channels) from 0 to about 1; a vector is 1 × 1."""
    sizes = [[1] * (3 - len(shape)) + list(shape) for shape in shapes]
    values = torch.tensor(sizes, dtype=torch.float32).log()
    return values / values.max().clamp(min=1.0)
