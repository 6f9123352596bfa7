"""Local search: climb over the networks one edit away, begin anew where none is better."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from typing import ClassVar

import numpy as np

from agents.base import Agent, Config
from agents.evolutionary.individuals import Census, Tokens
from emnas_gym.automaton import Automaton
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem
from emnas_gym.space import SAMPLERS, sample_tokens
from emnas_gym.variation import edits_of, neighbours


@dataclass(frozen=True)
class LocalSearchConfig(Config):
    """Hyperparameters of `LocalSearch`."""

    improvement: str = "first"
    """Moves to the first better neighbour in shuffled order, or to the best of all neighbours."""

    sampler: str = "uniform-length"
    """How the networks are drawn from which it climbs."""

    batch: int = 1
    """Neighbours measured together."""

    repeats: bool = False
    """Measures also neighbours that were measured before; otherwise their reward is remembered."""

    def __post_init__(self) -> None:
        """Checks the values."""
        self.require(self.improvement in ("first", "best"), "improvement is first or best")
        self.require(self.sampler in SAMPLERS, f"sampler is one of {', '.join(SAMPLERS)}")
        self.require(self.batch >= 1, "batch is 1 or more")


class LocalSearch(Agent):
    """Hill climbing with restarts (White et al. 2021, "Exploring the loss landscape in NAS").

    x ← y for a neighbour y with r(y) > r(x), neighbours being all networks one edit away
    (`emnas_gym.variation.neighbours`); a network that no neighbour beats is a local optimum, and
    the next climb begins at a new random one.
    """

    name: ClassVar[str] = "local-search"
    summary: ClassVar[str] = "Hill climbing over one-edit neighbours, with random restarts."
    config_type = LocalSearchConfig

    def _search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        rng, table = self._generator(seed), problem.automaton
        census, climbs = Census(problem, ledger), 0
        while not ledger.spent:
            (start,) = self._start(census, table, rng)
            (here,) = census.measure([start])
            top, steps = self._climb(census, table, rng, (here.fitness, here.tokens))
            climbs += 1
            self._report(ledger, local__climbs=climbs, local__steps=steps, local__optimum=top)

    def _start(self, census: Census, table: Automaton, rng: np.random.Generator) -> list[Tokens]:
        """A random network, a new one where there are any."""
        sampler = self.config.sampler
        if self.config.repeats:
            return [sample_tokens(table, rng, sampler)]
        return census.unseen(1, lambda: sample_tokens(table, rng, sampler))

    def _climb(
        self,
        census: Census,
        table: Automaton,
        rng: np.random.Generator,
        here: tuple[float, Tokens],
    ) -> tuple[float, int]:
        """Moves uphill until no neighbour is better; the reward there, and the moves made."""
        for steps in count():
            around = neighbours(table, here[1], edits_of(table), rng)
            better = self._better(census, around, here[0])
            if better is None:
                return here[0], steps
            here = better
        raise AssertionError("every move is uphill, so that there is an end")

    def _better(
        self, census: Census, around: Iterator[Tokens], reward: float
    ) -> tuple[float, Tokens] | None:
        """The neighbour to move to: the first one that is better, or the best one."""
        best: tuple[float, Tokens] | None = None
        while batch := list(islice(around, self.config.batch)):
            for fitness, tokens in self._rewards(census, batch):
                if fitness > (reward if best is None else best[0]):
                    best = fitness, tokens
                    if self.config.improvement == "first":
                        return best
        return best

    def _rewards(self, census: Census, batch: list[Tokens]) -> list[tuple[float, Tokens]]:
        """Rewards of neighbours; known ones are measured again only where repeats are asked for."""
        known = {
            tokens: None if self.config.repeats else census.fitness(tokens) for tokens in batch
        }
        new = [tokens for tokens, reward in known.items() if reward is None]
        measured = {one.tokens: one.fitness for one in census.measure(new)} if new else {}
        rewards = {**{t: r for t, r in known.items() if r is not None}, **measured}
        return [(rewards[tokens], tokens) for tokens in batch]
