"""DQN of Stable-Baselines3 as an agent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from stable_baselines3 import DQN
from stable_baselines3.common.base_class import BaseAlgorithm
from torch import Tensor

from agents.imitated import Steps
from agents.lengths import end_probability
from agents.sb3_agent import SB3Agent, SB3Config
from agents.sb3_environment import INSTEAD
from agents.token_embedding import TokenEmbedding
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem


@dataclass(frozen=True)
class DQNConfig(SB3Config):
    """Hyperparameters of `DQNAgent`. Schedules count steps, not shares of the budget."""

    learning_rate: float = 0.001
    """Step size of the optimizer."""

    memory: int = 20000
    """Steps that are remembered."""

    warm_up: int = 64
    """Steps before the first update."""

    every: int = 4
    """Steps in each environment between updates."""

    updates: int = 4
    """Gradient steps of an update."""

    minibatch: int = 64
    """Steps of one gradient step."""

    target: int = 200
    """Steps after which the target network is renewed."""

    explore: int = 4000
    """Steps over which ε falls from 1 to its least value."""

    least: float = 0.05
    """ε afterwards."""

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        self.require(self.memory >= self.envs, "memory is as many steps as envs or more")
        self.require(min(self.every, self.updates) >= 1, "every and updates are 1 or more")
        self.require(self.warm_up >= 0, "warm_up is 0 or more")
        self.require(self.minibatch >= 2, "minibatch is 2 or more")
        self.require(min(self.target, self.explore) >= 1, "target and explore are 1 or more")
        self.require(0 <= self.least <= 1, "least is a probability")


def exploration(steps: int, horizon: int, least: float) -> float:
    """ε: linear from 1 at the start to the least value after so many steps, and that from then."""
    return max(1.0 - (1.0 - least) * steps / horizon, least)


class TokenDQN(DQN):
    """DQN that explores networks of about uniform length, and by its own count of steps.

    Args:
        arguments: Those of ``DQN``.
        problem: Its lengths.
        horizon: Steps over which ε falls.
        least: ε afterwards.
        keywords: Those of ``DQN``.
    """

    def __init__(
        self,
        *arguments: Any,  # noqa: ANN401
        problem: Problem,
        horizon: int,
        least: float,
        **keywords: Any,  # noqa: ANN401
    ) -> None:
        self._end, self._tokens = problem.space.end_token, problem.space.num_tokens
        self._ends = end_probability(problem.automaton)
        self._horizon, self._least = horizon, least
        super().__init__(*arguments, **keywords)

    def _sample_action(
        self,
        learning_starts: int,
        action_noise: Any = None,  # noqa: ANN401
        n_envs: int = 1,
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """Actions of all environments, ε-greedy each for itself, and the same for the memory."""
        assert isinstance(self._last_obs, np.ndarray)
        actions, _ = self.policy.predict(self._last_obs, deterministic=True)
        share = 1.0
        if self.num_timesteps >= learning_starts:
            share = exploration(self.num_timesteps, self._horizon, self._least)
        self.exploration_rate = share
        for i, placed in enumerate((self._last_obs > 0).sum(axis=1).tolist()):
            if np.random.rand() < share:
                actions[i] = self._explored(placed)
        return actions, actions

    def _explored(self, placed: int) -> int:
        """The end token with the probability that makes lengths uniform, else any other one."""
        if self._end and np.random.rand() < self._ends[placed]:
            return self._end
        token = int(np.random.randint(1, self._tokens + (not self._end)))
        return token + (0 < self._end <= token)

    def _store_transition(
        self,
        replay_buffer: Any,  # noqa: ANN401
        buffer_action: NDArray[Any],
        new_obs: Any,  # noqa: ANN401
        reward: NDArray[Any],
        dones: NDArray[Any],
        infos: list[dict[str, Any]],
    ) -> None:
        """Remembers the token that was placed in the place of a chosen legal one."""
        chosen = zip(buffer_action.tolist(), infos, strict=True)
        placed = np.array([info.get(INSTEAD, action) for action, info in chosen])
        super()._store_transition(replay_buffer, placed, new_obs, reward, dones, infos)

    def _on_step(self) -> None:
        """Renews the target network; ε follows the steps in `_sample_action`."""
        rate = self.exploration_rate
        super()._on_step()
        self.exploration_rate = rate


class DQNAgent(SB3Agent):
    """Deep Q-learning with a target network and replay (Mnih et al. 2015), without masks.

    An illegal token is replaced by a legal one in the environment; the network learns what its own
    token led to. Target: r + max Q′(s′, ·), the discount is 1.
    """

    name: ClassVar[str] = "dqn"
    summary: ClassVar[str] = "DQN of Stable-Baselines3, which learns what is legal by itself."
    config_type = DQNConfig

    def _make(self, problem: Problem, ledger: Ledger, seed: int) -> BaseAlgorithm:
        config: DQNConfig = self.config
        return TokenDQN(
            "MlpPolicy",
            self._envs(ledger, seed),
            problem=problem,
            horizon=config.explore,
            least=config.least,
            learning_rate=config.learning_rate,
            buffer_size=config.memory,
            learning_starts=config.warm_up,
            batch_size=config.minibatch,
            gamma=1.0,
            train_freq=config.every,
            gradient_steps=config.updates,
            target_update_interval=config.target,
            policy_kwargs={
                "features_extractor_class": TokenEmbedding,
                "features_extractor_kwargs": {"problem": problem, "width": config.width},
                "net_arch": [config.hidden, config.hidden],
            },
            tensorboard_log=None if self.logdir is None else str(self.logdir),
            seed=seed,
            device="cpu",
        )

    def _scores(self, steps: Steps) -> Tensor:
        policy: Any = self.model_.policy
        values: Tensor = policy.q_net(steps.ids)
        return values
