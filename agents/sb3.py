"""PPO, A2C and MaskablePPO of Stable-Baselines3 as agents."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from sb3_contrib import MaskablePPO
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from torch import Tensor

from agents.imitated import Steps, best_steps
from agents.sb3_agent import SB3Agent, SB3Config
from agents.token_actor import MaskableTokenActorCritic, TokenActorCritic
from agents.token_embedding import TokenEmbedding
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem


@dataclass(frozen=True)
class ActorCriticConfig(SB3Config):
    """Hyperparameters that all actor-critics have."""

    steps: int = 32
    """Steps in each environment before an update."""

    entropy: float = 0.01
    """Weight of the entropy bonus."""

    gae_lambda: float = 0.95
    """λ of generalised advantage estimation; 1 takes the whole return."""

    imitation: int = 0
    """Gradient steps on the likelihood of the best networks so far before each rollout."""

    elite: int = 8
    """Number of best networks that are imitated."""

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        self.require(self.steps >= 1, "steps is 1 or more")
        self.require(self.envs * self.steps >= 2, "an update takes two steps or more")
        self.require(self.entropy >= 0, "entropy is 0 or more")
        self.require(0 <= self.gae_lambda <= 1, "gae_lambda lies in 0 … 1")
        self.require(self.imitation >= 0, "imitation is 0 or more")
        self.require(self.elite >= 1, "elite is 1 or more")


@dataclass(frozen=True)
class PPOConfig(ActorCriticConfig):
    """Hyperparameters of `PPOAgent` and `MaskablePPOAgent`."""

    minibatch: int = 64
    """Steps of one gradient step; divides envs × steps."""

    epochs: int = 10
    """Passes over the steps of an update."""

    clip_range: float = 0.2
    """How far the probability of a token may move in an update."""

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        self.require(self.minibatch >= 2, "minibatch is 2 or more")
        divides = self.envs * self.steps % max(self.minibatch, 1) == 0
        self.require(divides, "minibatch divides envs × steps")
        self.require(self.epochs >= 1, "epochs is 1 or more")
        self.require(self.clip_range > 0, "clip_range is above 0")


@dataclass(frozen=True)
class A2CConfig(ActorCriticConfig):
    """Hyperparameters of `A2CAgent`."""

    steps: int = 8
    """Steps in each environment before an update."""

    learning_rate: float = 0.002
    """Step size of the optimizer."""

    entropy: float = 0.02
    """Weight of the entropy bonus."""

    hidden: int = 64
    """Width of the two hidden layers of actor and critic."""


class ActorCriticAgent(SB3Agent):
    """An on-policy algorithm of Stable-Baselines3; imitation of the best networks is an option.

    Attributes:
        masked: Whether the policy sees the masks.
        model_: The algorithm after the last search.
    """

    masked: ClassVar[bool] = False
    model_: OnPolicyAlgorithm

    def _make(self, problem: Problem, ledger: Ledger, seed: int) -> OnPolicyAlgorithm:
        config: ActorCriticConfig = self.config
        return self._algorithm(
            policy=MaskableTokenActorCritic if self.masked else TokenActorCritic,
            env=self._envs(ledger, seed),
            n_steps=config.steps,
            learning_rate=config.learning_rate,
            ent_coef=config.entropy,
            gamma=1.0,
            gae_lambda=config.gae_lambda,
            policy_kwargs=self._policy_keywords(problem),
            tensorboard_log=None if self.logdir is None else str(self.logdir),
            seed=seed,
            device="cpu",
        )

    def _policy_keywords(self, problem: Problem) -> dict[str, Any]:
        layers = [self.config.hidden, self.config.hidden]
        return {
            "features_extractor_class": TokenEmbedding,
            "features_extractor_kwargs": {
                "problem": problem,
                "width": self.config.width,
                "end_of": "masked" if self.masked else "unmasked",
            },
            "net_arch": {"pi": layers, "vf": layers},
            "space": problem.space,
        }

    def _before_rollout(self, ledger: Ledger) -> None:
        """Self-imitation: gradient steps on −mean log π(best networks so far)."""
        if not self.config.imitation or not ledger.rows:
            return
        policy, steps = self.model_.policy, best_steps(ledger, self.config.elite)
        policy.set_training_mode(True)
        for _ in range(self.config.imitation):
            log_probs = self._log_probs(steps).gather(1, steps.tokens[:, None])
            policy.optimizer.zero_grad()
            (-log_probs.mean()).backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(policy.parameters(), self.model_.max_grad_norm)
            policy.optimizer.step()

    def _log_probs(self, steps: Steps) -> Tensor:
        """Log-probabilities of all tokens at every step, (T, K + 1)."""
        policy: Any = self.model_.policy
        if self.masked:
            masks = steps.masks.numpy()
            logits: Tensor = policy.get_distribution(steps.ids, masks).distribution.logits
        else:
            logits = policy.get_distribution(steps.ids).distribution.logits
        return logits.log_softmax(dim=1)

    def _scores(self, steps: Steps) -> Tensor:
        return self._log_probs(steps)

    @abstractmethod
    def _algorithm(self, **keywords: Any) -> OnPolicyAlgorithm:  # noqa: ANN401
        """Makes the algorithm from what all have and its own hyperparameters."""


class PPOAgent(ActorCriticAgent):
    """Proximal policy optimisation without masks (Schulman et al. 2017)."""

    name: ClassVar[str] = "ppo"
    summary: ClassVar[str] = "PPO of Stable-Baselines3, which learns what is legal by itself."
    config_type = PPOConfig

    def _algorithm(self, **keywords: Any) -> OnPolicyAlgorithm:  # noqa: ANN401
        return PPO(**ppo_keywords(self.config), **keywords)


class A2CAgent(ActorCriticAgent):
    """Advantage actor-critic without masks (Mnih et al. 2016, synchronous)."""

    name: ClassVar[str] = "a2c"
    summary: ClassVar[str] = "A2C of Stable-Baselines3, which learns what is legal by itself."
    config_type = A2CConfig

    def _algorithm(self, **keywords: Any) -> OnPolicyAlgorithm:  # noqa: ANN401
        return A2C(**keywords)


class MaskablePPOAgent(ActorCriticAgent):
    """PPO whose policy is renormalised over the legal tokens (Huang and Ontañón 2022)."""

    name: ClassVar[str] = "maskable-ppo"
    summary: ClassVar[str] = "MaskablePPO of sb3-contrib, which sees the masks."
    config_type = PPOConfig
    masked = True

    def _algorithm(self, **keywords: Any) -> OnPolicyAlgorithm:  # noqa: ANN401
        return MaskablePPO(**ppo_keywords(self.config), **keywords)


def ppo_keywords(config: PPOConfig) -> dict[str, Any]:
    """What PPO takes beside the keywords of all algorithms."""
    return {
        "batch_size": config.minibatch,
        "n_epochs": config.epochs,
        "clip_range": config.clip_range,
    }
