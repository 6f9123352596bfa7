"""Regularised evolution: the fittest of a few is mutated, the oldest dies."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.base import Agent, Config
from agents.evolutionary.individuals import TRIES, Census, Individual, Tokens
from agents.evolutionary.selection import tournament
from emnas_gym.automaton import Automaton
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem
from emnas_gym.space import SAMPLERS, sample_tokens
from emnas_gym.variation import crossover, mutate


@dataclass(frozen=True)
class EvolutionConfig(Config):
    """Hyperparameters of `RegularisedEvolution`."""

    population: int = 64
    """Networks alive; the first ones are drawn at random."""

    tournament: int = 16
    """Networks drawn for a tournament, whose fittest becomes the parent."""

    crossover: float = 0.0
    """Probability that a child has a second parent, joined at one point before its mutation."""

    sampler: str = "uniform-length"
    """How the first population is drawn."""

    batch: int = 1
    """Children made from one population and measured together, e.g. one a board."""

    def __post_init__(self) -> None:
        """Checks the values."""
        self.require(self.population >= 2, "population is 2 or more")
        self.require(self.tournament >= 1, "tournament is 1 or more")
        self.require(0.0 <= self.crossover <= 1.0, "crossover is a probability")
        self.require(self.sampler in SAMPLERS, f"sampler is one of {', '.join(SAMPLERS)}")
        self.require(self.batch >= 1, "batch is 1 or more")


class Population:
    """The networks alive, oldest first.

    Args:
        size: How many live at most.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.alive: deque[Individual] = deque()

    def add(self, individual: Individual) -> Individual | None:
        """Adds the youngest; returns the oldest, which dies, once there are too many."""
        self.alive.append(individual)
        return self.alive.popleft() if len(self.alive) > self.size else None

    def tournament(self, size: int, rng: np.random.Generator) -> Individual:
        """The fittest of some drawn with replacement; see `agents.evolutionary.selection`."""
        return tournament(self.alive, size, rng)


class RegularisedEvolution(Agent):
    """Aging evolution (Real et al. 2019, "Regularized evolution for image classifier search").

    A child is its parent after one edit: a layer replaced, inserted or deleted. A child that was
    measured before is drawn again, up to `TRIES` times.
    """

    name: ClassVar[str] = "evolution"
    summary: ClassVar[str] = "Regularised evolution: tournament, one mutation, the oldest dies."
    config_type = EvolutionConfig

    def _search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        config, rng, table = self.config, self._generator(seed), problem.automaton
        population, census = Population(config.population), Census(problem, ledger)

        def measure(born: Sequence[Tokens]) -> None:
            for individual in census.measure(born):
                population.add(individual)

        def child() -> Tokens:
            for _ in range(TRIES):
                tokens = self._parent(population, table, rng)
                tokens = mutate(table, tokens, rng)
                if census.fitness(tokens) is None:
                    break
            return tokens

        measure([sample_tokens(table, rng, config.sampler) for _ in range(config.population)])
        while not ledger.spent:
            measure([child() for _ in range(config.batch)])
            fitness = [individual.fitness for individual in population.alive]
            self._report(ledger, evolution__mean_fitness=float(np.mean(fitness)))

    def _parent(self, population: Population, table: Automaton, rng: np.random.Generator) -> Tokens:
        """The winner of a tournament, or what it gives when crossed with another winner."""
        config = self.config
        mother = population.tournament(config.tournament, rng).tokens
        if rng.random() >= config.crossover:
            return mother
        father = population.tournament(config.tournament, rng).tokens
        return crossover(table, mother, father, rng) or mother
