"""Who becomes a parent: tournament, roulette, rank, elitism.

Each rule takes the networks alive and returns one; `probabilities` has the closed forms.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agents.evolutionary.individuals import Individual

SELECTIONS = ("tournament", "roulette", "rank", "elitism")
Alive = Sequence[Individual]
Shares = NDArray[np.float64]


def tournament(alive: Alive, size: int, rng: np.random.Generator) -> Individual:
    """The fittest of some drawn with replacement (Real et al. 2019, algorithm 1).

    Of P networks of different fitness the r-th fittest wins among S drawn ones with probability
    ((P − r + 1)^S − (P − r)^S) / P^S. Of equals the one that was drawn first wins.
    """
    drawn = rng.integers(len(alive), size=size)
    return max((alive[int(i)] for i in drawn), key=lambda one: one.fitness)


def roulette(alive: Alive, rng: np.random.Generator) -> Individual:
    """One by its share of all fitness (Holland 1975); see `roulette_shares`."""
    return alive[int(rng.choice(len(alive), p=roulette_shares(_fitness(alive))))]


def rank(alive: Alive, rng: np.random.Generator) -> Individual:
    """One by its rank, whatever the distances between fitnesses; see `rank_shares`."""
    return alive[int(rng.choice(len(alive), p=rank_shares(_fitness(alive))))]


def elitism(alive: Alive, elites: int, rng: np.random.Generator) -> Individual:
    """One of the fittest, each as likely as the other; of equals the older is the fitter."""
    return fittest(alive, elites)[int(rng.integers(min(elites, len(alive))))]


def select(
    alive: Alive, rule: str, rng: np.random.Generator, size: int = 3, elites: int = 1
) -> Individual:
    """A parent by the rule of this name.

    Args:
        alive: To choose from.
        rule: One of `SELECTIONS`.
        rng: Source of randomness.
        size: Networks of a tournament.
        elites: How many count as the fittest for elitism.
    """
    if rule == "tournament":
        return tournament(alive, size, rng)
    if rule == "elitism":
        return elitism(alive, elites, rng)
    return roulette(alive, rng) if rule == "roulette" else rank(alive, rng)


def fittest(alive: Alive, count: int) -> list[Individual]:
    """The fittest, best first; of equals the older comes first."""
    return sorted(alive, key=lambda one: (-one.fitness, one.birth))[:count]


def roulette_shares(fitness: Shares) -> Shares:
    """fᵢ / Σ f, shape (N,).

    Rewards below 0 have no shares: where there is one, all are counted from the least one, which
    then has no chance. Where nothing is left to share, all are equally likely.
    """
    above = fitness - min(float(fitness.min()), 0.0)
    total = float(above.sum())
    return above / total if total > 0 else np.full(len(fitness), 1.0 / len(fitness))


def rank_shares(fitness: Shares) -> Shares:
    """Linear ranking at its strongest (Baker 1985): 2 rᵢ / (N (N − 1)), shape (N,).

    r is 0 for the worst and N − 1 for the best; equals share the mean of their ranks.
    """
    count = len(fitness)
    if count == 1:
        return np.ones(1)
    below = (fitness[None] < fitness[:, None]).sum(axis=1)
    equal = (fitness[None] == fitness[:, None]).sum(axis=1)
    shares: Shares = 2.0 * (below + (equal - 1) / 2.0) / (count * (count - 1))
    return shares


def _fitness(alive: Alive) -> Shares:
    return np.array([one.fitness for one in alive])
