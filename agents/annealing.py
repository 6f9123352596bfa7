"""Simulated annealing: worse networks are accepted too, the more rarely the colder it gets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.base import Agent, Config
from agents.evolutionary.individuals import Census, Individual, Tokens
from emnas_gym.automaton import Automaton
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem
from emnas_gym.space import SAMPLERS, sample_tokens
from emnas_gym.variation import edits_of, mutate

FREE = 40  # moves among known networks, which cost nothing, before a walk begins anew


@dataclass(frozen=True)
class AnnealingConfig(Config):
    """Hyperparameters of `Annealing`. The schedule counts evaluations, not shares of the budget."""

    temperature: float = 0.0
    """Temperature at the start, in rewards; 0 takes it from the spread of the first rewards."""

    spread: float = 0.1
    """Interquartile ranges of the first rewards that make the temperature at the start."""

    start: int = 8
    """Random networks measured first; the walk begins at the best of them."""

    half_life: float = 30.0
    """Evaluations after which the temperature has halved."""

    plateau: int = 1
    """Evaluations at one temperature; 1 cools with every evaluation."""

    sampler: str = "uniform-length"
    """How random networks are drawn."""

    batch: int = 1
    """Proposals measured together; the first one that is accepted is the move."""

    repeats: bool = False
    """Measures also proposals that were measured before; otherwise their reward is remembered."""

    def __post_init__(self) -> None:
        """Checks the values."""
        self.require(self.temperature >= 0, "temperature is 0 or more")
        self.require(self.spread > 0, "spread is above 0")
        self.require(self.start >= 1, "start is 1 or more")
        self.require(self.half_life > 0, "half_life is above 0")
        self.require(self.plateau >= 1, "plateau is 1 or more")
        self.require(self.sampler in SAMPLERS, f"sampler is one of {', '.join(SAMPLERS)}")
        self.require(self.batch >= 1, "batch is 1 or more")


class Annealing(Agent):
    """Simulated annealing (Kirkpatrick et al. 1983) with the rule of Metropolis et al. 1953.

    A proposal y is x after one edit, and is accepted with probability min(1, exp((r(y) − r(x)) /
    T)); T falls geometrically, T(n) = T₀ · ½^(n / half_life) after n evaluations. Known proposals
    cost nothing; a walk that finds nothing else begins anew at a random network.
    """

    name: ClassVar[str] = "annealing"
    summary: ClassVar[str] = "Simulated annealing over one-edit neighbours."
    config_type = AnnealingConfig

    def _search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        config: AnnealingConfig = self.config
        rng, table = self._generator(seed), problem.automaton
        census = Census(problem, ledger)

        def fresh() -> Tokens:
            return sample_tokens(table, rng, config.sampler)

        first = census.measure(census.unseen(config.start, fresh))
        hot = config.temperature or config.spread * interquartile([one.fitness for one in first])
        top = max(first, key=lambda one: one.fitness)
        walk = Walk(census, table, rng, top.tokens, top.fitness)
        while not ledger.spent:
            begun = ledger.count - config.start
            warm = temperature(hot, begun, config.half_life, config.plateau)
            proposals = walk.propose(config.batch, warm, config.repeats)
            if proposals:
                walk.choose(census.measure(proposals), warm)
            else:
                (jump,) = census.measure(census.unseen(1, fresh))
                walk.tokens, walk.reward = jump.tokens, jump.fitness
            self._report(ledger, annealing__temperature=warm, annealing__reward=walk.reward)


@dataclass
class Walk:
    """A walk over networks by the rule of Metropolis.

    Attributes:
        census: Remembers rewards.
        table: Decides what is legal.
        rng: Source of randomness.
        tokens: Where it is.
        reward: Of the network there.
    """

    census: Census
    table: Automaton
    rng: np.random.Generator
    tokens: Tokens
    reward: float

    def propose(self, count: int, warm: float, repeats: bool = False) -> list[Tokens]:
        """Neighbours to be measured; on the way to unknown ones it walks over known ones.

        Args:
            count: How many.
            warm: Temperature.
            repeats: Whether known ones are proposed as well.

        Returns:
            The neighbours; none if only known ones were met.
        """
        if repeats:
            return [self._neighbour() for _ in range(count)]
        for _ in range(FREE):
            tokens = self._neighbour()
            known = self.census.fitness(tokens)
            if known is None:
                return [tokens, *self.census.unseen(count - 1, self._neighbour)]
            self._step(tokens, known, warm)
        return []

    def choose(self, proposals: Sequence[Individual], warm: float) -> None:
        """Moves to the first of the proposals that is accepted, if one is."""
        for one in proposals:
            if self._step(one.tokens, one.fitness, warm):
                return

    def _neighbour(self) -> Tokens:
        return mutate(self.table, self.tokens, self.rng, edits_of(self.table))

    def _step(self, tokens: Tokens, reward: float, warm: float) -> bool:
        accepted = bool(self.rng.random() < acceptance(reward - self.reward, warm))
        if accepted:
            self.tokens, self.reward = tokens, reward
        return accepted


# ------------------------------------------------------------------------------------- the rule


def acceptance(gain: float, warm: float) -> float:
    """Probability of a move, min(1, exp(gain / T)); at T = 0 only what is no worse (Metropolis)."""
    if gain >= 0:
        return 1.0
    return math.exp(gain / warm) if warm > 0 else 0.0


def interquartile(rewards: Sequence[float]) -> float:
    """Distance between the quartiles: a spread that a few failed networks do not blow up."""
    low, high = np.quantile(rewards, [0.25, 0.75])
    return float(high - low)


def temperature(hot: float, evaluations: int, half_life: float, plateau: int) -> float:
    """T₀ · ½^(n / half_life), n being rounded down to whole plateaus.

    Args:
        hot: T₀.
        evaluations: n, counted from the first move.
        half_life: Evaluations after which it has halved.
        plateau: Evaluations at one temperature.
    """
    return float(hot * 0.5 ** (evaluations // plateau * plateau / half_life))
