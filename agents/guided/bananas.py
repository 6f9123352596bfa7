"""BANANAS: an ensemble of networks on path encodings, and independent Thompson sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agents.guided.acquisition import independent_thompson, top
from agents.guided.guided_agent import EstimatorAgent, EstimatorConfig
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem


@dataclass(frozen=True)
class BananasConfig(EstimatorConfig):
    """Hyperparameters of `Bananas`."""

    encoding: str = "paths"
    """What the estimator reads; see `EstimatorConfig`."""

    initial: int = 10
    """Networks drawn at random before the first fit."""

    parents: int = 10
    """Best networks of which candidates are mutations."""

    pool: int = 100
    """Candidates of a round."""

    mutated: float = 0.5
    """Share of the candidates that are mutations; the others are drawn at random."""

    batch: int = 10
    """Networks measured in a round."""

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        for name in ("initial", "parents", "batch"):
            self.require(getattr(self, name) >= 1, f"{name} is 1 or more")
        self.require(self.initial >= 2, "initial is 2 or more")
        self.require(self.pool >= self.batch, "pool is batch or more")
        self.require(0.0 <= self.mutated <= 1.0, "mutated is a share")


class Bananas(EstimatorAgent):
    """White et al. 2021, "BANANAS: Bayesian optimization with neural architectures".

    Each round an ensemble is fitted to all that was measured; of candidates near the best and at
    random those with the largest draws f_i ~ N(mean_i, deviation_i²), drawn independently, are
    measured. Rewards are standardised and fitted by squared errors, where the paper takes relative
    errors of the loss; the deviation is that of the ensemble.
    """

    name: ClassVar[str] = "bananas"
    summary: ClassVar[str] = "Ensemble on path encodings with independent Thompson sampling."
    config_type = BananasConfig

    def _search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        config = self.config
        self._begin(problem, ledger, seed)
        self._measure(self._drawn(config.initial))
        while not ledger.spent:
            candidates = self.pool.around(self._best(config.parents), config.pool, config.mutated)
            if len(candidates) <= config.batch:  # nothing to choose from
                self._measure(candidates or self._drawn(config.batch))
                continue
            model = self._fit()
            mean, deviation = self._predicted(model, candidates)
            drawn = independent_thompson(mean, deviation, self.rng)
            self._measure([candidates[i] for i in top(drawn, config.batch)])
