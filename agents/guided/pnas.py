"""Progressive search: from small networks to larger ones, a predictor choosing what grows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.guided.acquisition import top
from agents.guided.guided_agent import EstimatorAgent, EstimatorConfig
from agents.guided.pool import Tokens
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem
from emnas_gym.variation import mutate

TRIES = 4  # draws for each network that a stage asks for


@dataclass(frozen=True)
class PnasConfig(EstimatorConfig):
    """Hyperparameters of `Pnas`."""

    beam: int = 16
    """Networks measured in a stage, which then grow."""

    expansions: int = 128
    """Grown networks of which the predictor chooses."""

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        self.require(self.beam >= 2, "beam is 2 or more")
        self.require(self.expansions >= self.beam, "expansions is beam or more")


class Pnas(EstimatorAgent):
    """Liu et al. 2018, "Progressive neural architecture search".

    Stage 1 measures a beam of the smallest networks. Each further stage grows the beam by one
    layer, B_(s+1) = top_K of predictor(grow(B_s)), measures it, and fits the predictor again. In
    tables, whose networks have all positions, a stage chooses the token of one more position: those
    before stay as they are in the beam, those beyond are drawn at random, so that they favour
    nothing. After the last stage the first one follows again, with the predictor that was learnt;
    nothing is measured twice while there is anything new.
    """

    name: ClassVar[str] = "pnas"
    summary: ClassVar[str] = "Progressive: networks grow stage by stage, a predictor keeps a beam."
    config_type = PnasConfig

    def _search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        self._begin(problem, ledger, seed, list_small=False)
        while not ledger.spent:
            known, beam = len(self.networks), list[Tokens]()
            for stage in self._stages():
                beam = self._stage(stage, beam)
            if len(self.networks) == known:  # hardly anything new is left
                self._measure(self._drawn(self.config.beam))

    def _stages(self) -> Sequence[int]:
        """Lengths of networks; in tables the number of positions that are chosen."""
        if self.problem.space.end_token:
            return self.pool.table.feasible_lengths
        return range(1, self.problem.max_layers + 1)

    def _stage(self, stage: int, beam: Sequence[Tokens]) -> list[Tokens]:
        """Measures the most promising networks of a stage and returns them, the best first."""
        config = self.config
        grown = self.pool.fresh(self._grown(stage, beam), config.expansions)
        if not grown:
            return list(beam)
        if len(self.networks) >= config.beam:
            mean, _ = self._predicted(self._fit(), grown)
            grown = [grown[i] for i in top(mean, config.beam)]
        before = len(self.networks)
        self._measure(grown[: config.beam])
        order = top(np.array(self.rewards[before:]), len(self.rewards) - before)
        return [self.networks[before + i] for i in order]

    def _grown(self, stage: int, beam: Sequence[Tokens]) -> Iterator[Tokens]:
        """Draws networks of a stage: grown from the beam, at random where there is none."""
        for draw in range(TRIES * self.config.expansions):
            parent = beam[draw % len(beam)] if beam else ()
            if not self.problem.space.end_token:
                yield self._finished(parent[: stage - 1], None)
            elif not parent:
                yield self._finished((), stage)
            else:
                child = mutate(self.pool.table, parent, self.rng, ("insert",))
                if len(child) == stage:
                    yield child

    def _finished(self, beginning: Tokens, length: int | None) -> Tokens:
        """A network that begins so, the other tokens uniform among legal ones."""
        table = self.pool.table
        cursor = table.start()
        for token in beginning:
            table.step(cursor, token)
        while not cursor.done:
            legal = table.legal(cursor, length)
            table.step(cursor, int(legal[self.rng.integers(len(legal))]))
        return tuple(cursor.tokens)
