"""RecurrentPPO of sb3-contrib as an agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from sb3_contrib import RecurrentPPO
from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from torch import Tensor, nn

from agents.imitated import Steps
from agents.sb3 import ActorCriticAgent, PPOConfig, ppo_keywords
from agents.token_actor import TokenHeaded
from emnas_gym.problem import Problem


@dataclass(frozen=True)
class RecurrentPPOConfig(PPOConfig):
    """Hyperparameters of `RecurrentPPOAgent`."""

    recurrent: int = 64
    """Width of the LSTMs of actor and critic."""

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        self.require(self.recurrent >= 1, "recurrent is 1 or more")


class RecurrentTokenActorCritic(TokenHeaded, RecurrentActorCriticPolicy):
    """The policy of RecurrentPPO for `TokenEmbedding` features with ``end_of``.

    The LSTMs read all features; the last one, the logit of the end token, is carried past them.
    """

    def _inputs(self) -> int:
        return self.lstm_output_dim + 1

    @staticmethod
    def _process_sequence(
        features: Tensor,
        lstm_states: tuple[Tensor, Tensor],
        episode_starts: Tensor,
        lstm: nn.LSTM,
    ) -> tuple[Tensor, Any]:
        """What an LSTM makes of features, the last of them appended, and its new states."""
        latent, states = RecurrentActorCriticPolicy._process_sequence(
            features, lstm_states, episode_starts, lstm
        )
        return torch.cat([latent, features[:, -1:]], dim=1), states


class RecurrentPPOAgent(ActorCriticAgent):
    """PPO whose actor and critic are LSTMs (Schulman et al. 2017; Hausknecht and Stone 2015).

    It sees no masks. The observation is ids: with those of Gymnasium's ``MultiDiscrete`` kind
    sb3-contrib's recurrent buffers fail.
    """

    name: ClassVar[str] = "recurrent-ppo"
    summary: ClassVar[str] = "RecurrentPPO of sb3-contrib, an LSTM that learns what is legal."
    config_type = RecurrentPPOConfig

    def _algorithm(self, **keywords: Any) -> OnPolicyAlgorithm:  # noqa: ANN401
        keywords["policy"] = RecurrentTokenActorCritic
        algorithm: OnPolicyAlgorithm = RecurrentPPO(**ppo_keywords(self.config), **keywords)
        return algorithm

    def _policy_keywords(self, problem: Problem) -> dict[str, Any]:
        return super()._policy_keywords(problem) | {"lstm_hidden_size": self.config.recurrent}

    def _log_probs(self, steps: Steps) -> Tensor:
        policy: Any = self.model_.policy
        nothing = torch.zeros(1, 1, self.config.recurrent)
        found, _ = policy.get_distribution(steps.ids, (nothing, nothing), steps.starts)
        logits: Tensor = found.distribution.logits
        return logits.log_softmax(dim=1)
