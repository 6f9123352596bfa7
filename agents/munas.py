"""Aging evolution of several objectives, weighed anew by chance in every tournament."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.base import Agent, Config, OptionError
from agents.evolutionary.dominance import Points
from agents.evolutionary.individuals import Census, Individual, Tokens
from agents.evolutionary.objectives import Objectives
from agents.evolutionary.offspring import Variation
from emnas_gym.history import Row
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem
from emnas_gym.space import SAMPLERS, sample_tokens

CUT = 10.0  # a cost counts as at most so many bounds


@dataclass(frozen=True)
class MuNASConfig(Config):
    """Hyperparameters of `MuNAS`; the published ones are population 100 and tournament 25."""

    population: int = 32
    """Networks alive; the first ones are drawn at random."""

    tournament: int = 8
    """Networks drawn for a tournament, with replacement."""

    objectives: str = ""
    """Fields of a measurement, apart by commas; those of the reward if empty."""

    bounds: str = ""
    """Bounds like error=0.1,ram_bytes=8192; else the budget's, else the first networks' median."""

    sampler: str = "uniform-length"
    """How the first population is drawn."""

    batch: int = 1
    """Children made from one population and measured together, e.g. one a board."""

    repeats: bool = False
    """Measures also children that were measured before; otherwise others are sought first."""

    def __post_init__(self) -> None:
        """Checks the values."""
        self.require(self.population >= 2, "population is 2 or more")
        self.require(self.tournament >= 1, "tournament is 1 or more")
        self.require(self.sampler in SAMPLERS, f"sampler is one of {', '.join(SAMPLERS)}")
        self.require(self.batch >= 1, "batch is 1 or more")
        read_bounds(self.bounds)


class MuNAS(Agent):
    """The search of µNAS (Liberis et al. 2021, "µNAS: constrained neural architecture search").

    Aging evolution: the winner of a tournament is edited once, the oldest dies. The tournament
    compares −max_i min(f_i / bound_i, 10) / λ_i with λ_i ~ U(0, 1) drawn anew each time, f_i being
    costs: the error 1 − accuracy, and every other field as it is. Bounds are goals, not limits.

    Attributes:
        front_: Of all evaluations of the last search the feasible ones that none dominates.
        bounds_: The bound of each objective in the last search, shape (objectives,).
    """

    name: ClassVar[str] = "munas"
    summary: ClassVar[str] = "Aging evolution that weighs several objectives by chance each time."
    config_type = MuNASConfig
    front_: list[Row]
    bounds_: Points

    def _search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        objectives = Objectives.of(problem, ledger, self.config.objectives)
        _check_named(read_bounds(self.config.bounds), objectives)
        try:
            self._evolve(problem, ledger, objectives, seed)
        finally:
            self.front_ = objectives.front(ledger.rows)

    def _evolve(self, problem: Problem, ledger: Ledger, objectives: Objectives, seed: int) -> None:
        config: MuNASConfig = self.config
        rng, census, table = self._generator(seed), Census(problem, ledger), problem.automaton
        vary = Variation(table, rng)

        def fresh() -> Tokens:
            return sample_tokens(table, rng, config.sampler)

        def parent() -> Tokens:
            drawn = rng.integers(len(alive), size=config.tournament)
            scores = scalarised(costs[drawn] / self.bounds_, random_weights(rng, costs.shape[1]))
            return alive[int(drawn[int(np.argmax(scores))])].tokens

        def child() -> Tokens:
            return vary.child(parent)

        first = census.unseen(config.population, fresh)
        alive: deque[Individual] = deque(maxlen=config.population)
        alive += census.measure(first)
        costs = costs_of(alive, objectives)
        self.bounds_ = bounds_of(objectives, read_bounds(config.bounds), costs)
        while not ledger.spent:
            born = [child() for _ in range(config.batch)] if config.repeats else None
            alive += census.measure(born or census.unseen(config.batch, child, fresh))
            costs = costs_of(alive, objectives)
            self._report(ledger, munas__mean_worst=float(_worst(costs / self.bounds_).mean()))


# ------------------------------------------------------------------------------------ the rules


def random_weights(rng: np.random.Generator, count: int) -> Points:
    """λ of one tournament, each uniform in 0 … 1 and never 0, shape (objectives,)."""
    return 1.0 - rng.random(count)


def scalarised(shares: Points, weights: Points) -> Points:
    """Fitness −max_i min(share_i, 10) / λ_i, shape (N,) (µNAS, section 4).

    Args:
        shares: Costs as shares of their bounds, shape (N, objectives).
        weights: λ, shape (objectives,).
    """
    scores: Points = -(np.minimum(shares, CUT) / weights).max(axis=1)
    return scores


def _worst(shares: Points) -> Points:
    return np.asarray(np.minimum(shares, CUT).max(axis=1))


def costs_of(alive: Sequence[Individual] | deque[Individual], objectives: Objectives) -> Points:
    """What is to become small, shape (N, objectives); infinite for a network that failed."""
    points, violations = objectives.points([one.result for one in alive])
    signs = np.array(objectives.signs)
    costs: Points = np.where(signs > 0, 1.0 - points, -points)
    costs[np.isinf(violations)] = np.inf
    return costs


def bounds_of(objectives: Objectives, given: dict[str, float], costs: Points) -> Points:
    """The bound of every objective: given, the budget's, or the median of the first networks."""
    limits = dict(objectives.problem.budgets.limits) | given
    found = []
    for i, field in enumerate(objectives.fields):
        known = costs[np.isfinite(costs[:, i]), i]
        median = float(np.median(known)) if len(known) else 1.0
        bound = limits.get(_named(field), median)
        found.append(bound if bound > 0 else 1.0)  # a cost that is 0 for most has no scale
    return np.array(found)


def _named(field: str) -> str:
    return "error" if field == "accuracy" else field


def read_bounds(text: str) -> dict[str, float]:
    """Bounds from ``name=number`` pairs apart by commas; accuracy is bounded by its ``error``.

    Raises:
        OptionError: If a pair is not of this form, or a number is not above 0.
    """
    bounds: dict[str, float] = {}
    for pair in (pair for pair in text.split(",") if pair.strip()):
        name, _, value = pair.partition("=")
        try:
            bounds[name.strip()] = float(value)
        except ValueError as error:
            raise OptionError(f"bounds: expected name=number, not {pair.strip()!r}") from error
        if not 0 < bounds[name.strip()] < np.inf:
            raise OptionError(f"bounds: {name.strip()} is a number above 0, not {value}")
    return bounds


def _check_named(bounds: dict[str, float], objectives: Objectives) -> None:
    known = [_named(field) for field in objectives.fields]
    for name in bounds:
        if name not in known:
            raise OptionError(f"bounds: there is no objective {name}; there are {', '.join(known)}")
