"""Random search: networks drawn independently, the baseline that everything else has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agents.base import Agent, Config
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem
from emnas_gym.space import SAMPLERS, sample_tokens


@dataclass(frozen=True)
class RandomConfig(Config):
    """Hyperparameters of `RandomSearch`."""

    sampler: str = "uniform-length"
    """Uniform-length (a length, then tokens), walk (tokens alone) or canonical (behaviours)."""

    batch: int = 16
    """Networks measured, and committed to the history, at a time."""

    def __post_init__(self) -> None:
        """Checks the values."""
        self.require(self.sampler in SAMPLERS, f"sampler is one of {', '.join(SAMPLERS)}")
        self.require(self.batch >= 1, "batch is 1 or more")


class RandomSearch(Agent):
    """Draws networks independently of all that was measured (Bergstra and Bengio 2012)."""

    name: ClassVar[str] = "random"
    summary: ClassVar[str] = "Independent draws; the baseline of every comparison."
    config_type = RandomConfig

    def _search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        rng = self._generator(seed)
        sampler, size = self.config.sampler, self.config.batch
        while not ledger.spent:
            drawn = [sample_tokens(problem.automaton, rng, sampler) for _ in range(size)]
            ledger.evaluate([problem.space.architecture(tokens) for tokens in drawn])
            self._report(ledger)
