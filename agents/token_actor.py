"""Actor-critic policies for Stable-Baselines3 whose logits are shared between like layers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import MlpExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from agents.lengths import end_logits
from agents.token_embedding import TokenEmbedding
from agents.token_features import token_features
from emnas_gym.problem import Problem

KEY_WIDTH = 32


class CarryingExtractor(MlpExtractor):
    """The usual networks of actor and critic; the actor's latent carries the situation along.

    Args:
        situations: Number of last features that are carried.
        arguments: Those of ``MlpExtractor``.
        keywords: Those of ``MlpExtractor``.
    """

    def __init__(self, situations: int, *arguments: Any, **keywords: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **keywords)
        self.situations = situations
        self.latent_dim_pi += situations

    def forward_actor(self, features: Tensor) -> Tensor:
        """Latent of the actor, the situation appended, shape (B, latent + situations)."""
        return torch.cat([self.policy_net(features), features[:, -self.situations :]], dim=1)


class TokenHead(nn.Module):
    """Logits of all tokens from a latent: a query times the keys of the layers.

    Keys are linear in the details of a layer, plus a part of the token's own that starts at 0. All
    logits start at 0, apart from the end token's, whose offset in each situation makes lengths
    about uniform.

    Args:
        latent: Width of what comes in, the situation included.
        problem: Space, lengths, budgets.
        masked: Whether illegal tokens are masked; otherwise the environment replaces them.
    """

    features: Tensor  # (K + 1, F)
    end_offset: Tensor  # (situations,)

    def __init__(self, latent: int, problem: Problem, masked: bool) -> None:
        super().__init__()
        features = token_features(problem.space)
        offset = end_logits(problem.automaton, masked).ravel().astype(np.float32)
        self.end_token = problem.space.end_token
        self.register_buffer("features", torch.from_numpy(features))
        self.register_buffer("end_offset", torch.from_numpy(offset))
        self.query = nn.Linear(latent - len(offset), KEY_WIDTH)
        self.key = nn.Linear(features.shape[1], KEY_WIDTH)
        self.own = nn.Parameter(torch.zeros(len(features), KEY_WIDTH))
        nn.init.zeros_(self.query.weight)
        nn.init.zeros_(self.query.bias)

    def forward(self, latent: Tensor) -> Tensor:
        """Logits, shape (B, K + 1)."""
        hidden, situation = latent.split([self.query.in_features, len(self.end_offset)], dim=1)
        keys = self.key(self.features) + self.own
        logits = self.query(hidden) @ keys.T / math.sqrt(KEY_WIDTH)
        end = nn.functional.one_hot(torch.tensor(self.end_token), len(keys)).to(logits.dtype)
        return logits + (situation @ self.end_offset)[:, None] * end


class TokenActorCritic(ActorCriticPolicy):
    """The policy of PPO and A2C for `TokenEmbedding` features.

    Args:
        arguments: Those of ``ActorCriticPolicy``.
        problem: Space, lengths, budgets.
        keywords: Those of ``ActorCriticPolicy``.
    """

    def __init__(self, *arguments: Any, problem: Problem, **keywords: Any) -> None:  # noqa: ANN401
        self.problem = problem
        super().__init__(*arguments, **keywords)

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = _extractor(self)

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        _replace_head(self, self.problem, lr_schedule, masked=False)


class MaskableTokenActorCritic(MaskableActorCriticPolicy):
    """The policy of MaskablePPO for `TokenEmbedding` features.

    Args:
        arguments: Those of ``MaskableActorCriticPolicy``.
        problem: Space, lengths, budgets.
        keywords: Those of ``MaskableActorCriticPolicy``.
    """

    def __init__(self, *arguments: Any, problem: Problem, **keywords: Any) -> None:  # noqa: ANN401
        self.problem = problem
        super().__init__(*arguments, **keywords)

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = _extractor(self)

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)
        _replace_head(self, self.problem, lr_schedule, masked=True)


Policy = TokenActorCritic | MaskableTokenActorCritic


def _extractor(policy: Policy) -> CarryingExtractor:
    assert isinstance(policy.features_extractor, TokenEmbedding)
    return CarryingExtractor(
        policy.features_extractor.situations,
        policy.features_dim,
        net_arch=policy.net_arch,
        activation_fn=policy.activation_fn,
        device=policy.device,
    )


def _replace_head(policy: Policy, problem: Problem, schedule: Schedule, masked: bool) -> None:
    """Puts a `TokenHead` in place of the linear layer, and makes the optimizer anew."""
    policy.action_net = TokenHead(policy.mlp_extractor.latent_dim_pi, problem, masked)
    policy.optimizer = policy.optimizer_class(
        policy.parameters(), lr=schedule(1), **policy.optimizer_kwargs
    )
