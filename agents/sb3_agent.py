"""What all algorithms of Stable-Baselines3 have in common as agents."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import gymnasium as gym
import torch
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv
from torch import Tensor

from agents.base import Agent, Config, NotLearned
from agents.determinism import seeded
from agents.imitated import Steps
from agents.parameters import load_parameters, save_parameters
from agents.sb3_environment import Ranked, StopWhenSpent, Undisturbed, Unplayed
from agents.unseen import Unseen
from emnas_gym.ledger import EPISODES_PER_EVALUATION, Ledger
from emnas_gym.problem import Problem


@dataclass(frozen=True)
class SB3Config(Config):
    """Hyperparameters that all algorithms have. A network has one reward, at its end: gamma is 1.

    Tuned on seeds from 100 on; the tables of the README have the seeds from 0 on.
    """

    envs: int = 8
    """Environments played in turn."""

    learning_rate: float = 0.003
    """Step size of the optimizer."""

    hidden: int = 128
    """Width of the two hidden layers."""

    width: int = 16
    """Width of token embeddings."""

    ranked: int = 200
    """Learns from a reward's rank among so many latest ones; 0 learns from the reward itself."""

    unplayed: bool = False
    """Plays no network twice while others are left."""

    def __post_init__(self) -> None:
        """Checks the values."""
        self.require(self.envs >= 1, "envs is 1 or more")
        self.require(self.ranked >= 0, "ranked is 0 or more")
        self.require(self.learning_rate > 0, "learning_rate is above 0")
        self.require(min(self.hidden, self.width) >= 1, "hidden and width are 1 or more")


class SB3Agent(Agent):
    """Lets a Stable-Baselines3 algorithm act in `ledger.env()` until the ledger is spent.

    Attributes:
        model_: The algorithm after the last search.
    """

    learns: ClassVar[bool] = True
    model_: BaseAlgorithm

    def _search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        with seeded(seed):
            self.model_ = self._make(problem, ledger, seed)
            steps = EPISODES_PER_EVALUATION * ledger.evaluations * problem.max_layers
            stop = StopWhenSpent(ledger, self._report, lambda: self._before_rollout(ledger))
            self.model_.learn(steps, callback=stop, tb_log_name=self.name)
            self._before_rollout(ledger)

    def _before_rollout(self, ledger: Ledger) -> None:
        """What is learned beside the algorithm's own updates."""

    def _env(self, ledger: Ledger, unseen: Unseen | None, seed: int) -> gym.Env[Any, Any]:
        env: gym.Env[Any, Any] = Undisturbed(ledger.env(observation="ids"))
        if unseen is not None:
            env = Unplayed(env, unseen, self._generator(seed))
        return Ranked(env, ledger, self.config.ranked) if self.config.ranked else env

    def _envs(self, ledger: Ledger, seed: int) -> DummyVecEnv:
        unseen = Unseen(ledger.problem.automaton) if self.config.unplayed else None
        return DummyVecEnv([lambda: self._env(ledger, unseen, seed)] * self.config.envs)

    @abstractmethod
    def _make(self, problem: Problem, ledger: Ledger, seed: int) -> BaseAlgorithm:
        """Makes the algorithm."""

    @abstractmethod
    def _scores(self, steps: Steps) -> Tensor:
        """How much every token is preferred after the steps of one network, (T, K + 1)."""

    @torch.no_grad()
    def favourite(self, problem: Problem) -> tuple[int, ...]:
        """The network of the most preferred legal token at every step.

        Args:
            problem: That of the last search.

        Raises:
            NotLearned: If there was no search yet.
        """
        if not hasattr(self, "model_"):
            raise NotLearned(f"{self.name} has not searched yet: call search first")
        self.model_.policy.set_training_mode(False)
        table, cursor = problem.automaton, problem.automaton.start()
        while not cursor.done:
            legal = table.legal(cursor)
            steps = Steps.of(table, (*cursor.tokens, int(legal[0])))
            scores = self._scores(steps)[-1].numpy()[legal]
            table.step(cursor, int(legal[scores.argmax()]))
        return tuple(cursor.tokens)

    def save(self, folder: Path, problem: Problem) -> None:
        """Writes the parameters after the last search."""
        save_parameters(folder, self.model_.get_parameters(), self._about(problem))

    def load(self, folder: Path, problem: Problem, ledger: Ledger) -> BaseAlgorithm:
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
