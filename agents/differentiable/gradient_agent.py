"""The agent around searches by gradient: one supernet after the other."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

from agents.base import Agent, NotLearned
from agents.differentiable.gradient_config import GradientConfig
from agents.differentiable.ground import Ground
from agents.differentiable.latency_term import latency_of
from agents.differentiable.paid_search import PaidSearch, Told
from agents.differentiable.supernet_search import SupernetSearch
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem
from predictors.lenna.expected import ExpectedLatency


class GradientAgent(Agent):
    """Trains supernets, reads a genotype off each, and lets the ledger measure it (`PaidSearch`).

    After one supernet comes the next, from the next stream of the same seed, until the ledger is
    spent, or as many are trained as are wanted. A subclass names its configuration and its
    `SupernetSearch`.
    """

    config_type: ClassVar[type[GradientConfig]] = GradientConfig
    search_type: ClassVar[type[SupernetSearch]]
    learns: ClassVar[bool] = True
    needs: ClassVar[frozenset[str]] = frozenset({"images"})

    _favourite: tuple[int, ...] | None = None

    def _search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        ground = Ground.of(problem, self.config, self.name)
        latency = self._expected(ground, ledger.history.path)
        rng = self._generator(seed)
        self._favourite, self._epochs, restart, is_final = None, 0, 0, False
        most = self.config.searches or math.inf
        while restart < most and not ledger.spent:
            drawn = int(rng.integers(2**31))
            search = self.search_type(ground, self.config, drawn, latency)
            paid = PaidSearch(search, ledger, f"supernet {restart}", self._teller(ledger, restart))
            try:
                paid.run()
            finally:
                if paid.finished or not is_final:
                    self._favourite, is_final = paid.genotype or self._favourite, paid.finished
            self._report(ledger)
            restart += 1

    def _expected(self, ground: Ground, history: Path | None) -> ExpectedLatency | None:
        target = self.config.latency_target
        if not target:
            return None
        folder = None if history is None else history.parent
        return latency_of(target, ground.space, ground.deployed, folder)

    def _teller(self, ledger: Ledger, restart: int) -> Told:
        def tell(numbers: dict[str, Any]) -> None:
            ledger.trace(self._epochs, restart=restart, **numbers)
            plain = ("entropy", "skips", "train_loss", "valid_loss", "valid_accuracy")
            told = {f"supernet__{name}": float(numbers[name]) for name in plain}
            if numbers["expected_latency_us"] is not None:
                told["supernet__expected_latency_us"] = numbers["expected_latency_us"]
            self._scalars.add(self._epochs, **told)
            self._epochs += 1

        return tell

    def favourite(self, problem: Problem) -> tuple[int, ...]:
        """The genotype of the latest supernet whose search came to its end; else the latest one."""
        if self._favourite is None:
            raise NotLearned(f"agent {self.name} has read off no genotype yet: let it search first")
        return self._favourite
