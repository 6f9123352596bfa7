"""A genetic algorithm whose first population, selection, variation, replacement are options."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from agents.base import Agent, Config
from agents.evolutionary.individuals import Census, Individual, Tokens
from agents.evolutionary.initial import INITIALS, InitialSpace, first_population
from agents.evolutionary.offspring import Variation
from agents.evolutionary.replacement import REPLACEMENTS
from agents.evolutionary.replacement import replace as survivors
from agents.evolutionary.selection import SELECTIONS, select
from emnas_gym.automaton import Automaton
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem
from emnas_gym.space import SAMPLERS, sample_tokens

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class GeneticConfig(Config):
    """Hyperparameters of `Genetic`.

    Regularised evolution is replacement=oldest, crossover=0, elites=0, batch=1; with population=10,
    tournament=3 and repeats=true it is the one of the known figures on NAS-Bench-201.
    """

    population: int = 16
    """Networks alive after each replacement."""

    initial: str = "random"
    """The first population: random, trivial (the shortest networks) or rich (made by hand)."""

    initial_space: str = ""
    """Name or TOML file of the space of the first population; the search space if empty."""

    initial_min_layers: int = 0
    """Least number of tokens in the first population; no limit of its own if 0."""

    initial_max_layers: int = 0
    """Largest number of tokens in the first population; no limit of its own if 0."""

    networks: str = ""
    """Networks made by hand for initial=rich: ids by spaces, networks by semicolons; or a file."""

    sampler: str = "uniform-length"
    """How the first population is drawn."""

    length: int = 0
    """Tokens of all genomes, if they are of fixed length; 0 lets their length vary."""

    selection: str = "tournament"
    """Parents by tournament, roulette, rank or elitism (one of the elites)."""

    tournament: int = 4
    """Networks drawn for a tournament, with replacement."""

    crossover: float = 0.2
    """Probability that a child has a second parent, joined at one point."""

    mutation: float = 1.0
    """Probability that a child is mutated."""

    distance: int = 1
    """Edits of one mutation."""

    replacement: str = "worst"
    """Who dies: the worst, the oldest, or the generation before (generational)."""

    elites: int = 1
    """So many of the fittest never die; with selection=elitism only they are parents."""

    batch: int = 4
    """Children of one generation, measured together."""

    repeats: bool = False
    """Measures also children that were measured before; otherwise others are sought first."""

    def __post_init__(self) -> None:
        """Checks the values."""
        self.require(self.population >= 2, "population is 2 or more")
        self.require(self.initial in INITIALS, f"initial is one of {', '.join(INITIALS)}")
        limits = min(self.initial_min_layers, self.initial_max_layers, self.length)
        self.require(limits >= 0, "initial_min_layers, initial_max_layers and length are 0 or more")
        rich = (self.initial == "rich") == bool(self.networks)
        self.require(rich, "networks are given with initial=rich, and only then")
        self.require(self.sampler in SAMPLERS, f"sampler is one of {', '.join(SAMPLERS)}")
        rules = ", ".join(SELECTIONS)
        self.require(self.selection in SELECTIONS, f"selection is one of {rules}")
        rules = ", ".join(REPLACEMENTS)
        self.require(self.replacement in REPLACEMENTS, f"replacement is one of {rules}")
        self.require(self.tournament >= 1, "tournament is 1 or more")
        self.require(0.0 <= self.crossover <= 1.0, "crossover is a probability")
        self.require(0.0 <= self.mutation <= 1.0, "mutation is a probability")
        self.require(self.distance >= 1, "distance is 1 or more")
        self.require(0 <= self.elites < self.population, "elites are fewer than the population")
        elitist = self.elites >= 1 or self.selection != "elitism"
        self.require(elitist, "selection=elitism needs elites")
        self.require(self.batch >= 1, "batch is 1 or more")


class Genetic(Agent):
    """A genetic algorithm over token sequences (Holland 1975; Liu et al. 2021 for its parts).

    One generation: parents are selected, a child is mother[:i] + father[j:] with probability
    `crossover` and is edited with probability `mutation`, all children are measured, and
    replacement decides who lives on. The first population may come from a smaller space than the
    one in which variation works. A child that was measured before is drawn again, and in the end
    gives way to a random network, so that a search of a small space ends with all of it.

    Attributes:
        alive_: The population after the last search, by birth.
    """

    name: ClassVar[str] = "genetic"
    summary: ClassVar[str] = "Genetic algorithm: every selection, replacement and first population."
    config_type = GeneticConfig
    alive_: list[Individual]

    def _search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        config: GeneticConfig = self.config
        rng, census = self._generator(seed), Census(problem, ledger)
        if config.length:
            problem = replace(problem, min_layers=config.length, max_layers=config.length)
        table = problem.automaton
        vary = Variation(table, rng, config.crossover, config.mutation, config.distance)
        _LOG.debug("initialisation")
        born = self._first(problem, census, rng)
        _LOG.debug("evaluation")
        self.alive_ = census.measure(born)
        while not ledger.spent:
            _LOG.debug("selection and variation")
            born = self._children(census, vary, table)
            _LOG.debug("evaluation")
            children = census.measure(born)
            _LOG.debug("replacement")
            size, elites = config.population, config.elites
            self.alive_ = survivors(config.replacement, self.alive_, children, size, elites)
            fitness = [individual.fitness for individual in self.alive_]
            self._report(ledger, genetic__mean_fitness=float(np.mean(fitness)))

    def _first(self, problem: Problem, census: Census, rng: np.random.Generator) -> list[Tokens]:
        config: GeneticConfig = self.config
        low, high = config.initial_min_layers, config.initial_max_layers
        space = InitialSpace.of(problem, config.initial_space, low, high, config.sampler)
        if config.repeats and config.initial == "random":
            return [space.draw(rng) for _ in range(config.population)]
        size, kind = config.population, config.initial
        return first_population(kind, size, space, census, rng, config.networks)

    def _children(self, census: Census, vary: Variation, table: Automaton) -> list[Tokens]:
        config: GeneticConfig = self.config

        def parent() -> Tokens:
            size, elites = config.tournament, config.elites
            return select(self.alive_, config.selection, vary.rng, size, elites).tokens

        def child() -> Tokens:
            return vary.child(parent)

        if config.repeats:
            return [child() for _ in range(config.batch)]
        return census.unseen(
            config.batch, child, lambda: sample_tokens(table, vary.rng, config.sampler)
        )
