"""Train T, sort N: a predictor trained once on random networks ranks many more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from agents.guided.acquisition import top
from agents.guided.guided_agent import EstimatorAgent, EstimatorConfig
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem


@dataclass(frozen=True)
class TrainSortConfig(EstimatorConfig):
    """Hyperparameters of `TrainSort`."""

    train: int = 50
    """T: networks drawn at random, measured, and learnt from."""

    sort: int = 1000
    """N: networks drawn at random and ranked by the prediction."""

    batch: int = 10
    """Networks measured at a time, in the order of their rank."""

    def __post_init__(self) -> None:
        """Checks the values."""
        super().__post_init__()
        self.require(self.train >= 2, "train is 2 or more")
        self.require(self.sort >= 1, "sort is 1 or more")
        self.require(self.batch >= 1, "batch is 1 or more")


class TrainSort(EstimatorAgent):
    """Wen et al. 2020, "Neural predictor for neural architecture search".

    T random networks train the predictor, once; N more are ranked by argsort(−prediction) and
    measured from the top until the evaluations are used up. If all N were measured, another N are
    drawn and ranked by the same predictor.
    """

    name: ClassVar[str] = "train-sort"
    summary: ClassVar[str] = "Trains a predictor on T random networks, measures the top of N more."
    config_type = TrainSortConfig

    def _search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        config = self.config
        self._begin(problem, ledger, seed)
        self._measure(self._drawn(config.train))
        model = self._fit()
        while not ledger.spent:
            drawn = self.pool.random(config.sort)
            if not drawn:
                self._measure(self._drawn(config.batch))
                continue
            mean, _ = self._predicted(model, drawn)
            ranked = [drawn[i] for i in top(mean, len(drawn))]
            for first in range(0, len(ranked), config.batch):
                self._measure(ranked[first : first + config.batch])
