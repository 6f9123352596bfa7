"""The contract of the agents of EMNAS: one name, two forms."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from agents.base import Agent, NotLearned
from agents.determinism import seeded
from agents.original.masked_draws import draw, networks
from agents.original.masked_policy import MaskedPolicy
from agents.original.mended import Learner, MendedConfig
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem


class MendedAgent(Agent):
    """An agent of EMNAS with its defects mended.

    Attributes:
        by_labels: Whether its gradient comes in the form of labels.
        from_best: Whether a play starts from the best sequence so far.
        policy_: The policy of the last search.
    """

    config_type = MendedConfig
    learns: ClassVar[bool] = True
    by_labels: ClassVar[bool] = False
    from_best: ClassVar[bool] = False
    policy_: MaskedPolicy
    _learner: Learner | None = None

    def _search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        rng = self._generator(seed)
        with seeded(int(rng.integers(2**62))):
            self._search_with(problem, ledger, rng)

    def _search_with(self, problem: Problem, ledger: Ledger, rng: np.random.Generator) -> None:
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        self.policy_ = self._policy(problem)
        self._learner = Learner(
            self.policy_, problem, self.config, generator, self.by_labels, self.from_best
        )
        self._learner.learn(ledger, self._report_update)

    @abstractmethod
    def _policy(self, problem: Problem) -> MaskedPolicy:
        """A fresh policy of the mended form."""

    def favourite(self, problem: Problem) -> tuple[int, ...]:
        """The network of the likeliest tokens, one after the other.

        Raises:
            NotLearned: If there was no search yet, or it was in the original form.
        """
        if self._learner is None:
            raise NotLearned(f"agent {self.name} has no policy that was learned in the mended form")
        tokens, _ = draw(self.policy_, problem, self._learner.context, 1, None)
        return next(networks(tokens))

    def _report_update(self, ledger: Ledger, entropy: float, mean_reward: float) -> None:
        values = {"entropy": entropy, "mean_reward": mean_reward}
        self._report(ledger, **{f"{self.name}__{key}": value for key, value in values.items()})


@dataclass(frozen=True)
class OriginalConfig(MendedConfig):
    """Hyperparameters of agents with both forms; those of the original form are marked."""

    faithful: bool = False
    """True gives the original rule with its defects; the options above then mean nothing."""


@dataclass(frozen=True)
class LabelConfig(OriginalConfig):
    """Hyperparameters of the agents whose original form applies the gradient as labels."""

    layers: int = 6
    """Original form: most tokens of a network, the end token included."""

    faithful_alpha: float = 1e-4
    """Original form: step of the labels."""

    gamma: float = 0.99
    """Original form: discount from play to play."""

    faithful_learning_rate: float = 1e-3
    """Original form: step size of Adam."""

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        self.require(self.layers >= 1, "layers is 1 or more")
        self.require(0 <= self.gamma <= 1, "gamma lies in 0 … 1")
        self.require(self.faithful_learning_rate > 0, "faithful_learning_rate is above 0")


class OriginalAgent(MendedAgent):
    """An agent of EMNAS in both forms."""

    config_type = OriginalConfig

    def _search_with(self, problem: Problem, ledger: Ledger, rng: np.random.Generator) -> None:
        if self.config.faithful:
            self._learner = None
            self._search_as_it_was(problem, ledger, rng)
        else:
            super()._search_with(problem, ledger, rng)

    @abstractmethod
    def _search_as_it_was(self, problem: Problem, ledger: Ledger, rng: np.random.Generator) -> None:
        """Searches by the original rule until the ledger is spent."""
