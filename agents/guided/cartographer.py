"""The cartographer: maps a space by what its networks have in common, and goes to the best spot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata

from agents.base import Config
from agents.guided.acquisition import expected_improvement, top
from agents.guided.description import Description
from agents.guided.guided_agent import GuidedAgent
from agents.guided.kernel_process import KernelProcess, believers
from agents.guided.pool import Tokens
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem

Array = NDArray[np.float64]
GROWTH = 1.1  # the kernel is learnt again when there are so many times more rows
LARGER = 5  # times as many first networks where a space is too large to be listed
LEARNT = 150  # rows by which it is learnt at most
ROOM = 60_000  # candidates of a listed space × rows remembered
PROMISING = 500  # of a listed space, candidates that are looked at again in the next round
FEW = 50  # rows up to which the kernel is learnt again each time


@dataclass(frozen=True)
class CartographerConfig(Config):
    """Hyperparameters of `Cartographer`."""

    initial: int = 4
    """Networks drawn at random before the first map; `LARGER` times as many in large spaces."""

    pool: int = 100
    """Candidates of a generation, in spaces that are too large to be listed."""

    generations: int = 2
    """Generations by which candidates climb the expected improvement, in such spaces."""

    parents: int = 10
    """Best networks, by reward and by what is expected, from which candidates descend."""

    distance: int = 3
    """Edits between a parent and a candidate, at most."""

    cross: float = 0.3
    """Probability that a candidate has two parents."""

    random: float = 0.1
    """Share of the first generation that is drawn at random."""

    window: int = 300
    """Networks that the map remembers: the best half of so many, and others at random."""

    batch: int = 1
    """Networks measured together, at least."""

    patience: int = 25
    """Evaluations after each of which a batch grows by one, in spaces too large to be listed."""

    def __post_init__(self) -> None:
        """Checks the values."""
        whole = ("initial", "pool", "generations", "parents", "distance", "batch", "patience")
        for name in whole:
            self.require(getattr(self, name) >= 1, f"{name} is 1 or more")
        self.require(0.0 <= self.cross <= 1.0, "cross is a probability")
        self.require(0.0 <= self.random <= 1.0, "random is a share")
        self.require(self.window >= 10, "window is 10 or more")


def normal_scores(rewards: Sequence[float]) -> Array:
    """What a normal sample of such ranks would be: Φ⁻¹((rank − 1/2) / N), ties by their mean.

    Only the order of rewards counts, so that failures and skewed accuracies do not matter.
    """
    ranks: Array = rankdata(rewards)
    scores: Array = ndtri((ranks - 0.5) / len(ranks))
    return scores


class Cartographer(GuidedAgent):
    """Gaussian process on the ranks of rewards over what networks have in common.

    Rewards become normal scores of their ranks. The kernel is exp(−Σ_g w_g ‖x_g − x'_g‖²) over
    groups of features (`agents.guided.description`): live operations, live paths, sets, counts; or
    summaries and stretches of layers. Their weights are learnt by marginal likelihood, so a space
    tells by itself what matters. What is measured next maximises the expected improvement; batches
    believe their own predictions. A space that can be listed is searched as a whole; in others
    candidates climb by mutation and crossover for a few generations.
    """

    name: ClassVar[str] = "cartographer"
    summary: ClassVar[str] = "Gaussian process on ranks over grouped features; candidates climb."
    config_type = CartographerConfig

    def _search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        config = self.config
        self._begin(problem, ledger, seed)
        self._describe = Description(problem)
        self._process: KernelProcess | None = None
        self._learnt = 0
        self._promising: list[Tokens] = []
        large = self.pool.unseen is None
        first = self._drawn(config.initial * (LARGER if large else 1))
        self._measure(first)
        self._describe.standardise(first)
        while not ledger.spent:
            self._measure(self._next())

    def _next(self) -> list[Tokens]:
        config = self.config
        grown = 0 if self.pool.unseen is not None else len(self.networks) // config.patience
        count = max(config.batch, grown)
        if self.pool.unseen == {}:
            return self._drawn(max(count, LEARNT))
        scores = normal_scores(self.rewards)
        self._map(scores)
        candidates = self._candidates(float(scores.max()))
        if not candidates:  # the space is large, yet nothing new was found
            return self._drawn(count)
        assert self._process is not None
        chosen = believers(self._process, self._describe(candidates), float(scores.max()), count)
        return [candidates[i] for i in chosen]

    def _map(self, scores: Array) -> None:
        """Conditions the process on the window; learns its kernel again from time to time."""
        config, count = self.config, len(scores)
        rows = np.arange(count)
        if count > config.window:
            order = top(scores, count)
            half = config.window // 2
            others = self.rng.choice(order[half:], config.window - half, replace=False)
            rows = np.concatenate([order[:half], others])
        x = self._describe([self.networks[i] for i in rows])
        if self._process is None:
            self._process = KernelProcess(self._describe.groups)
        if count <= FEW or count >= GROWTH * self._learnt:
            some = self.rng.permutation(len(rows))[:LEARNT]
            self._process.learn(x[some], scores[rows][some])
            self._learnt = count
        self._process.condition(x, scores[rows])

    def _candidates(self, best: float) -> list[Tokens]:
        config, pool = self.config, self.pool
        assert self._process is not None
        if pool.unseen is not None:
            return self._listed(best)
        parents = [self.networks[i] for i in top(np.array(self.rewards), config.parents)]
        alone = round(config.random * config.pool)
        found = dict.fromkeys(pool.random(alone))
        kept: list[Tokens] = []
        for _ in range(config.generations):
            born = pool.children(parents, config.pool - len(found), config.distance, config.cross)
            found |= dict.fromkeys(born)
            every = list(dict.fromkeys([*kept, *found]))
            if not every:
                break
            worth = expected_improvement(*self._process.predict(self._describe(every)), best)
            kept = [every[i] for i in top(worth, max(config.parents, 50))]
            parents = kept[: config.parents]
            found = {}
        return kept

    def _listed(self, best: float) -> list[Tokens]:
        """Of a listed space as many as there is time for, and those that promised most before."""
        assert self._process is not None
        size = max(ROOM // min(len(self.networks), self.config.window), 1000)
        old = self.pool.fresh(self._promising, PROMISING)
        every = list(dict.fromkeys([*old, *self.pool.some(size)]))
        worth = expected_improvement(*self._process.predict(self._describe(every)), best)
        self._promising = [every[i] for i in top(worth, PROMISING)]
        return self._promising
