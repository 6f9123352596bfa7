"""Bayesian optimisation: an exact Gaussian process and expected improvement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from agents.base import Config
from agents.guided.acquisition import top
from agents.guided.description import Description
from agents.guided.guided_agent import GuidedAgent
from agents.guided.kernel_process import KernelProcess, believers
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem

BATCHES = ("believer", "liar")
LEARN_EVERY = 1.15  # times as many rows before the kernel is learnt again
LEARNT = 150  # rows by which it is learnt at most, the latest of the window


@dataclass(frozen=True)
class GaussianSearchConfig(Config):
    """Hyperparameters of `GaussianSearch`."""

    initial: int = 10
    """Networks drawn at random before the first fit."""

    pool: int = 200
    """Candidates of a round."""

    mutated: float = 0.5
    """Share of the candidates that are mutations of the best; the others are drawn at random."""

    parents: int = 5
    """Best networks of which candidates are mutations."""

    window: int = 300
    """Networks that the process remembers: the best half of so many, and the latest others."""

    batch: int = 1
    """Networks measured in a round."""

    rule: str = "believer"
    """How a batch is chosen: believer (its predictions come true) or liar (all are the best)."""

    def __post_init__(self) -> None:
        """Checks the values."""
        for name in ("initial", "parents", "batch"):
            self.require(getattr(self, name) >= 1, f"{name} is 1 or more")
        self.require(self.pool >= self.batch, "pool is batch or more")
        self.require(0.0 <= self.mutated <= 1.0, "mutated is a share")
        self.require(self.window >= 10, "window is 10 or more")
        self.require(self.rule in BATCHES, f"rule is one of {', '.join(BATCHES)}")


class GaussianSearch(GuidedAgent):
    """Bayesian optimisation (Jones et al. 1998) on tokens by position and on paths.

    k(x, x') = a exp(−w_1 ‖tokens − tokens'‖² − w_2 ‖paths − paths'‖²) with noise, parameters by
    marginal likelihood; what is measured next maximises E max(f − best, 0). Batches by Kriging
    believer or constant liar (Ginsbourger et al. 2010). Rewards are standardised. Beyond the
    window the process forgets, so that its cost per evaluation stays bounded.
    """

    name: ClassVar[str] = "gp"
    summary: ClassVar[str] = "Gaussian process on tokens and paths, with expected improvement."
    config_type = GaussianSearchConfig

    def _search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        config, learnt = self.config, 0
        self._begin(problem, ledger, seed)
        describe = Description(problem, "plain")
        self._measure(self._drawn(config.initial))
        process = KernelProcess(describe.groups)
        while not ledger.spent:
            candidates = self.pool.around(self._best(config.parents), config.pool, config.mutated)
            if len(candidates) <= config.batch:  # nothing to choose from
                self._measure(candidates or self._drawn(config.batch))
                continue
            rows = window(np.array(self.rewards), config.window)
            rewards = standardised(np.array(self.rewards)[rows])
            x = describe([self.networks[i] for i in rows])
            process.groups = describe.groups
            if len(self.networks) >= LEARN_EVERY * learnt:
                process.learn(x[-LEARNT:], rewards[-LEARNT:])
                learnt = len(self.networks)
            process.condition(x, rewards)
            best = float(rewards.max())
            liar = best if config.rule == "liar" else None
            picks = believers(process, describe(candidates), best, config.batch, liar)
            self._measure([candidates[i] for i in picks])


def window(rewards: NDArray[np.float64], size: int) -> NDArray[np.int64]:
    """Rows that are remembered, in their order: the best half of a size, and the latest others."""
    kept = np.zeros(len(rewards), dtype=bool)
    kept[top(rewards, size // 2)] = True
    others = np.flatnonzero(~kept)
    kept[others[max(len(others) - (size - size // 2), 0) :]] = True
    return np.flatnonzero(kept)


def standardised(rewards: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rewards of mean 0 and deviation 1; all 0 where they do not differ."""
    spread = float(rewards.std())
    scaled: NDArray[np.float64] = (rewards - rewards.mean()) / (spread if spread > 0 else 1.0)
    return scaled
