"""NSGA-II: non-dominated sorting and crowding decide who is a parent and who lives on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from agents.base import Agent, Config
from agents.evolutionary.dominance import Points, crowding, fronts
from agents.evolutionary.individuals import Census, Individual, Tokens
from agents.evolutionary.objectives import Objectives
from agents.evolutionary.offspring import Variation
from emnas_gym.history import Row
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem
from emnas_gym.space import SAMPLERS, sample_tokens


@dataclass(frozen=True)
class NSGA2Config(Config):
    """Hyperparameters of `NSGA2`."""

    population: int = 24
    """Networks alive, and children of a generation, which are measured together."""

    objectives: str = ""
    """Fields of a measurement, apart by commas; those of the reward if empty."""

    crossover: float = 0.5
    """Probability that a child has a second parent, joined at one point."""

    mutation: float = 0.9
    """Probability that a child is mutated."""

    sampler: str = "uniform-length"
    """How the first population is drawn."""

    repeats: bool = False
    """Measures also children that were measured before; otherwise others are sought first."""

    def __post_init__(self) -> None:
        """Checks the values."""
        self.require(self.population >= 2, "population is 2 or more")
        self.require(0.0 <= self.crossover <= 1.0, "crossover is a probability")
        self.require(0.0 <= self.mutation <= 1.0, "mutation is a probability")
        self.require(self.sampler in SAMPLERS, f"sampler is one of {', '.join(SAMPLERS)}")


@dataclass(frozen=True)
class Ranked:
    """A population with what the crowded comparison needs.

    Attributes:
        alive: The networks.
        front: Number of each one's front, 0 is the best, shape (N,).
        distance: Crowding distance of each within its front, shape (N,).
    """

    alive: list[Individual]
    front: NDArray[np.int64]
    distance: Points


class NSGA2(Agent):
    """NSGA-II (Deb et al. 2002) on the objectives of the reward.

    Parents win a tournament of two by the crowded comparison: i before j if i's front is better, or
    it is the same and i's crowding distance is larger. Parents and children together are sorted
    into fronts; the best fronts live on, the last of them by crowding distance. Feasible networks
    dominate those that break a budget or failed.

    Attributes:
        front_: Of all evaluations of the last search the feasible ones that none dominates.
    """

    name: ClassVar[str] = "nsga2"
    summary: ClassVar[str] = "NSGA-II: fronts and crowding, several objectives at once."
    config_type = NSGA2Config
    front_: list[Row]

    def _search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        objectives = Objectives.of(problem, ledger, self.config.objectives)
        try:
            self._evolve(problem, ledger, objectives, seed)
        finally:
            self.front_ = objectives.front(ledger.rows)

    def _evolve(self, problem: Problem, ledger: Ledger, objectives: Objectives, seed: int) -> None:
        config: NSGA2Config = self.config
        rng, census, table = self._generator(seed), Census(problem, ledger), problem.automaton
        vary = Variation(table, rng, config.crossover, config.mutation)

        def fresh() -> Tokens:
            return sample_tokens(table, rng, config.sampler)

        def child() -> Tokens:
            return vary.child(lambda: crowded_tournament(ranked, rng).tokens)

        size = config.population
        first = [fresh() for _ in range(size)] if config.repeats else census.unseen(size, fresh)
        ranked = rank(census.measure(first), objectives)
        while not ledger.spent:
            repeated = [child() for _ in range(size)] if config.repeats else None
            children = census.measure(repeated or census.unseen(size, child, fresh))
            ranked = survivors(rank([*ranked.alive, *children], objectives), size)
            self._report(ledger, nsga2__first_front=float((ranked.front == 0).sum()))


# ------------------------------------------------------------------------------------ the rules


def rank(everyone: Sequence[Individual], objectives: Objectives) -> Ranked:
    """Sorts networks into fronts, and measures how crowded each is there."""
    points, violations = objectives.points([one.result for one in everyone])
    front = np.zeros(len(everyone), dtype=np.int64)
    distance = np.zeros(len(everyone))
    for number, rows in enumerate(fronts(points, violations)):
        front[rows], distance[rows] = number, crowding(points[rows])
    return Ranked(list(everyone), front, distance)


def survivors(everyone: Ranked, size: int) -> Ranked:
    """The best by the crowded comparison; of equals those that stand first."""
    order = np.lexsort((-everyone.distance, everyone.front))[:size]
    alive = [everyone.alive[int(i)] for i in order]
    return Ranked(alive, everyone.front[order], everyone.distance[order])


def crowded_tournament(ranked: Ranked, rng: np.random.Generator) -> Individual:
    """The better of two drawn ones by the crowded comparison; the first of equals."""
    first, second = (int(i) for i in rng.integers(len(ranked.alive), size=2))
    a = (ranked.front[first], -ranked.distance[first])
    b = (ranked.front[second], -ranked.distance[second])
    return ranked.alive[second if b < a else first]
