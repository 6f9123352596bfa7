"""Actor-critic policies for Stable-Baselines3 whose logits are shared between like layers."""

from __future__ import annotations

import math
from typing import Any

import torch
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.policies import ActorCriticPolicy, BasePolicy
from stable_baselines3.common.torch_layers import MlpExtractor
from stable_baselines3.common.type_aliases import Schedule
from torch import Tensor, nn

from agents.token_features import token_features
from emnas_gym.token_space import TokenSpace

KEY_WIDTH = 32


class CarryingExtractor(MlpExtractor):
    """The usual networks of actor and critic; the actor's output carries the last feature along.

    Args:
        feature_dim: Number of features, the last one included.
        arguments: Further ones of ``MlpExtractor``.
        keywords: Those of ``MlpExtractor``.
    """

    def __init__(self, feature_dim: int, *arguments: Any, **keywords: Any) -> None:  # noqa: ANN401
        super().__init__(feature_dim - 1, *arguments, **keywords)
        self.latent_dim_pi += 1

    def forward_actor(self, features: Tensor) -> Tensor:
        """Latent of the actor, the last feature appended, shape (B, latent + 1)."""
        return torch.cat([self.policy_net(features[:, :-1]), features[:, -1:]], dim=1)

    def forward_critic(self, features: Tensor) -> Tensor:
        """Latent of the critic, shape (B, latent)."""
        return super().forward_critic(features[:, :-1])


class TokenHead(nn.Module):
    """Logits of all tokens from a latent: a query times the keys of the layers.

    Keys are linear in the details of a layer, plus a part of the token's own that starts at 0. All
    logits start at 0, apart from the end token's, which starts at the last entry of the latent.

    Args:
        latent: Width of what comes in, the logit of the end token included.
        space: The tokens.
    """

    features: Tensor  # (K + 1, F)
    end: Tensor  # (K + 1,): 1 at the end token

    def __init__(self, latent: int, space: TokenSpace) -> None:
        super().__init__()
        features = torch.from_numpy(token_features(space))
        self.register_buffer("features", features)
        self.register_buffer("end", torch.eye(len(features))[space.end_token])
        self.query = nn.Linear(latent - 1, KEY_WIDTH)
        self.key = nn.Linear(features.shape[1], KEY_WIDTH)
        self.own = nn.Parameter(torch.zeros(len(features), KEY_WIDTH))
        nn.init.zeros_(self.query.weight)
        nn.init.zeros_(self.query.bias)

    def forward(self, latent: Tensor) -> Tensor:
        """Logits, shape (B, K + 1)."""
        keys = self.key(self.features) + self.own
        logits: Tensor = self.query(latent[:, :-1]) @ keys.T / math.sqrt(KEY_WIDTH)
        return logits + latent[:, -1:] * self.end


class TokenHeaded(BasePolicy):
    """What the policies below make of those of the libraries: networks that carry, and the head.

    Args:
        arguments: Those of the library's policy.
        space: The tokens.
        keywords: Those of the library's policy.
    """

    features_dim: int
    mlp_extractor: MlpExtractor
    net_arch: list[int] | dict[str, list[int]]
    activation_fn: type[nn.Module]

    def __init__(self, *arguments: Any, space: TokenSpace, **keywords: Any) -> None:  # noqa: ANN401
        self.space = space
        super().__init__(*arguments, **keywords)

    def _inputs(self) -> int:
        """Number of features that the networks get, the last one included."""
        return self.features_dim

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = CarryingExtractor(
            self._inputs(),
            net_arch=self.net_arch,
            activation_fn=self.activation_fn,
            device=self.device,
        )

    def _build(self, lr_schedule: Schedule) -> None:
        super()._build(lr_schedule)  # type: ignore[misc]  # that of the library's policy
        _replace_head(self, self.space, lr_schedule)


class TokenActorCritic(TokenHeaded, ActorCriticPolicy):
    """The policy of PPO and A2C for `TokenEmbedding` features with ``end_of``."""


class MaskableTokenActorCritic(TokenHeaded, MaskableActorCriticPolicy):
    """The policy of MaskablePPO for `TokenEmbedding` features with ``end_of``."""


def _replace_head(policy: Any, space: TokenSpace, schedule: Schedule) -> None:  # noqa: ANN401
    """Puts a `TokenHead` in place of the linear layer, and makes the optimizer anew."""
    policy.action_net = TokenHead(policy.mlp_extractor.latent_dim_pi, space)
    policy.optimizer = policy.optimizer_class(
        policy.parameters(),
        lr=schedule(1.0),
        **policy.optimizer_kwargs,
    )
