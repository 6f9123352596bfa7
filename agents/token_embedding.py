"""Token ids as the input of Stable-Baselines3 policies: embedded, not one-hot."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from agents.lengths import modes
from agents.token_features import token_features
from emnas_gym.grammar import Grammar


class TokenEmbedding(BaseFeaturesExtractor):
    """Features of a sequence of token ids, for observation ``"ids"``.

    Each token is embedded by the details of its layer plus a part of its own that starts at 0. The
    last `situations` features say, as one-hot, how many layers stand and which rules hold.

    Example:
        ``PPO("MlpPolicy", env, policy_kwargs={"features_extractor_class": TokenEmbedding,
        "features_extractor_kwargs": {"space": env.unwrapped.problem.space}})``

    Args:
        observation_space: ``Box`` of ids, shape (T,).
        space: The search space.
        width: Width of an embedding.
    """

    features: Tensor  # (K + 1, F)
    rules: Tensor  # (K + 1, R): which rules a token brings into force

    def __init__(self, observation_space: spaces.Space[Any], space: Grammar, width: int = 16) -> None:
        assert observation_space.shape is not None
        (length,) = observation_space.shape
        self.situations = length * len(modes(space))
        super().__init__(observation_space, length * width + self.situations)
        features = torch.from_numpy(token_features(space))
        kinds = [None, *(spec.kind for spec in space.specs)]
        rules = [[float(kind == rule) for rule in space.after] for kind in kinds]
        self.register_buffer("features", features)
        self.register_buffer("rules", torch.tensor(rules).reshape(len(kinds), len(space.after)))
        self.embed = nn.Linear(features.shape[1], width)
        self.own = nn.Parameter(torch.zeros(len(features), width))

    def forward(self, observations: Tensor) -> Tensor:
        """Embeds ids of shape (B, T); the result has shape (B, features)."""
        ids = observations.long()
        table = self.embed(self.features) + self.own
        return torch.cat([table[ids].flatten(1), self.situation(ids)], dim=1)

    def situation(self, ids: Tensor) -> Tensor:
        """One-hot of (rules in force, layers placed), shape (B, modes · T)."""
        placed = (ids > 0).sum(dim=1).clamp(max=ids.shape[1] - 1)
        in_force = self.rules[ids].amax(dim=1).long()
        bits = 2 ** torch.arange(in_force.shape[1], device=ids.device)
        index = (in_force * bits).sum(dim=1) * ids.shape[1] + placed
        return nn.functional.one_hot(index, self.situations).to(self.features.dtype)
