"""Actor-critic policies for Stable-Baselines3 that start with networks of about uniform length."""

from __future__ import annotations

from typing import Any

import torch
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import MlpExtractor
from torch import Tensor, nn

from agents.lengths import end_logits
from agents.token_features import token_features
from emnas_gym.problem import Problem
import os


class Carrying(MlpExtractor):
    """The usual two networks; the actor's output carries the situation along.

    Args:
        situations: Number of last features that are carried.
        arguments: Those of ``MlpExtractor``.
    """

    def __init__(self, situations: int, *arguments: Any, **keywords: Any) -> None:  # noqa: ANN401
        super().__init__(*arguments, **keywords)
        self.situations = situations
        self.latent_dim_pi += situations

    def forward_actor(self, features: Tensor) -> Tensor:
        """Latent of the actor, the situation appended."""
        return torch.cat([self.policy_net(features), features[:, -self.situations :]], dim=1)


class Head(nn.Module):
    def __init__(self, latent, problem, masked, width):
        super().__init__()
        f = torch.from_numpy(token_features(problem.space))
        logits = torch.from_numpy(end_logits(problem.automaton, masked)).float().flatten()
        self.S = len(logits)
        self.end = problem.space.end_token
        self.register_buffer("f", f)
        self.register_buffer("off", logits)
        self.query = nn.Linear(latent - self.S, width)
        self.key = nn.Linear(f.shape[1], width)
        self.own = nn.Parameter(torch.zeros(len(f), width))
        nn.init.zeros_(self.query.weight)
        nn.init.zeros_(self.query.bias)

    def forward(self, x):
        keys = self.key(self.f) + self.own
        out = self.query(x[:, : -self.S]) @ keys.T / keys.shape[1] ** 0.5
        add = torch.zeros_like(out)
        add[:, self.end] = x[:, -self.S :] @ self.off
        return out + add


class _Mixin:
    def __init__(self, *a, problem: Problem, masked, shared=True, **k):
        self._p, self._m, self._s = problem, masked, shared
        super().__init__(*a, **k)

    def _build_mlp_extractor(self):
        S = self.features_extractor.situations
        self.mlp_extractor = Carrying(S, self.features_dim, net_arch=self.net_arch, activation_fn=self.activation_fn, device=self.device)

    def _build(self, lr_schedule):
        super()._build(lr_schedule)
        if self._s:
            self.action_net = Head(self.mlp_extractor.latent_dim_pi, self._p, self._m, 32)
            self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)
        else:
            logits = torch.from_numpy(end_logits(self._p.automaton, self._m)).float().flatten()
            with torch.no_grad():
                self.action_net.weight[:, -len(logits):] = 0
                self.action_net.weight[self._p.space.end_token, -len(logits):] = logits


class TokenPolicyP(_Mixin, ActorCriticPolicy):
    pass


class TokenPolicyM(_Mixin, MaskableActorCriticPolicy):
    pass
