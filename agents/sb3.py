"""PPO, A2C and MaskablePPO of Stable-Baselines3 as agents."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
from sb3_contrib import MaskablePPO
from stable_baselines3 import A2C, PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.base import Agent, Config
from agents.determinism import seeded, undisturbed
from agents.parameters import load_parameters, save_parameters
from agents.token_actor import MaskableTokenActorCritic, TokenActorCritic
from agents.token_embedding import TokenEmbedding
from emnas_gym.ledger import EPISODES_PER_EVALUATION, Ledger
from emnas_gym.problem import Problem


@dataclass(frozen=True)
class ActorCriticConfig(Config):
    """Hyperparameters that all three have. An episode has one reward at its end: gamma is 1.

    Tuned on seeds from 100 on; the tables of the README have the seeds from 0 on.
    """

    envs: int = 8
    """Environments played in turn."""

    steps: int = 32
    """Steps in each environment before an update."""

    learning_rate: float = 0.003
    """Step size of the optimizer."""

    entropy: float = 0.01
    """Weight of the entropy bonus."""

    gae_lambda: float = 0.95
    """λ of generalised advantage estimation; 1 takes the whole return."""

    hidden: int = 128
    """Width of the two hidden layers of actor and critic."""

    width: int = 16
    """Width of token embeddings."""

    ranked: int = 200
    """Learns from a reward's rank among so many latest ones; 0 learns from the reward itself."""

    def __post_init__(self) -> None:
        """Checks the values."""
        self.require(self.ranked >= 0, "ranked is 0 or more")
        self.require(min(self.envs, self.steps) >= 1, "envs and steps are 1 or more")
        self.require(self.envs * self.steps >= 2, "an update takes two steps or more")
        self.require(self.learning_rate > 0, "learning_rate is above 0")
        self.require(self.entropy >= 0, "entropy is 0 or more")
        self.require(0 <= self.gae_lambda <= 1, "gae_lambda lies in 0 … 1")
        self.require(min(self.hidden, self.width) >= 1, "hidden and width are 1 or more")


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


class ActorCriticAgent(Agent):
    """Lets a Stable-Baselines3 algorithm act in `ledger.env()` until the ledger is spent.

    Attributes:
        masked: Whether the policy sees the masks.
        model_: The algorithm after the last search.
    """

    masked: ClassVar[bool] = False
    model_: OnPolicyAlgorithm

    def _search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        with seeded(seed):
            self.model_ = self._make(problem, ledger, seed)
            steps = EPISODES_PER_EVALUATION * ledger.evaluations * problem.max_layers
            stop = _StopWhenSpent(ledger, self._report)
            self.model_.learn(steps, callback=stop, tb_log_name=self.name)

    def _make(self, problem: Problem, ledger: Ledger, seed: int) -> OnPolicyAlgorithm:
        config: ActorCriticConfig = self.config
        layers = [config.hidden, config.hidden]
        return self._algorithm(
            policy=MaskableTokenActorCritic if self.masked else TokenActorCritic,
            env=DummyVecEnv([lambda: self._env(ledger)] * config.envs),
            n_steps=config.steps,
            learning_rate=config.learning_rate,
            ent_coef=config.entropy,
            gamma=1.0,
            gae_lambda=config.gae_lambda,
            policy_kwargs={
                "features_extractor_class": TokenEmbedding,
                "features_extractor_kwargs": {
                    "problem": problem,
                    "width": config.width,
                    "end_of": "masked" if self.masked else "unmasked",
                },
                "net_arch": {"pi": layers, "vf": layers},
                "space": problem.space,
            },
            tensorboard_log=None if self.logdir is None else str(self.logdir),
            seed=seed,
            device="cpu",
        )

    def _env(self, ledger: Ledger) -> gym.Env[Any, Any]:
        env = _Undisturbed(ledger.env(observation="ids"))
        return _Ranked(env, ledger, self.config.ranked) if self.config.ranked else env

    @abstractmethod
    def _algorithm(self, **keywords: Any) -> OnPolicyAlgorithm:  # noqa: ANN401
        """Makes the algorithm from what all have and its own hyperparameters."""

    def save(self, folder: Path, problem: Problem) -> None:
        """Writes the parameters after the last search."""
        save_parameters(folder, self.model_.get_parameters(), self._about(problem))

    def load(self, folder: Path, problem: Problem, ledger: Ledger) -> OnPolicyAlgorithm:
        """Makes the algorithm anew on a ledger, with parameters that `save` wrote.

        Raises:
            StoreError: If there are none, or they are of another problem or other hyperparameters.
        """
        parameters = load_parameters(folder, self._about(problem))
        with seeded(0):
            self.model_ = self._make(problem, ledger, seed=0)
        self.model_.set_parameters(parameters)
        return self.model_

    def _about(self, problem: Problem) -> dict[str, object]:
        return {"agent": self.name, "config": self.config.to_json(), "problem": problem.to_json()}


class _Undisturbed(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps an evaluator that trains or measures from the global generators, which SB3 uses."""

    def step(self, action: Any) -> Any:  # noqa: ANN401
        with undisturbed():
            return super().step(action)


class _Ranked(gym.Wrapper[Any, Any, Any, Any]):
    """Turns the reward of a finished network into the share of the latest ones that it beats.

    Late in a search all rewards are high and nearly equal; their ranks are not (ranked reward,
    Laterre et al. 2018, with one window for all environments).
    """

    def __init__(self, env: gym.Env[Any, Any], ledger: Ledger, window: int) -> None:
        super().__init__(env)
        self.ledger, self.window = ledger, window

    def step(self, action: Any) -> Any:  # noqa: ANN401
        observation, reward, terminated, truncated, info = super().step(action)
        if "measurement" in info:
            latest = np.array([row.reward for row in self.ledger.rows[-self.window - 1 : -1]])
            below = (latest < reward).sum() + 0.5 * (latest == reward).sum()
            reward = float(below / max(len(latest), 1))
        return observation, reward, terminated, truncated, info


class _StopWhenSpent(BaseCallback):
    """Ends the learning with the ledger; reports after every rollout."""

    def __init__(self, ledger: Ledger, report: Callable[..., None]) -> None:
        super().__init__()
        self.ledger, self.report = ledger, report

    def _on_step(self) -> bool:
        return not self.ledger.spent

    def _on_rollout_end(self) -> None:
        share = self.ledger.invalid_steps / max(self.ledger.steps, 1)
        self.report(self.ledger, search__invalid_share=share)


class PPOAgent(ActorCriticAgent):
    """Proximal policy optimisation without masks (Schulman et al. 2017)."""

    name: ClassVar[str] = "ppo"
    summary: ClassVar[str] = "PPO of Stable-Baselines3, which learns what is legal by itself."
    config_type = PPOConfig

    def _algorithm(self, **keywords: Any) -> OnPolicyAlgorithm:  # noqa: ANN401
        return PPO(**_ppo_keywords(self.config), **keywords)


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
        return MaskablePPO(**_ppo_keywords(self.config), **keywords)


def _ppo_keywords(config: PPOConfig) -> dict[str, Any]:
    return {
        "batch_size": config.minibatch,
        "n_epochs": config.epochs,
        "clip_range": config.clip_range,
    }
