"""The evaluator that looks up in a table, and what only its owner knows: the optimum and the test.

A search sees the validation signal and the costs of the device. Regret and test accuracies are for
reports: neither stands in a measurement.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emnas_gym.architecture import Architecture
from emnas_gym.columns import Columns
from emnas_gym.devices import Device
from emnas_gym.errors import DomainError, InfeasibleBudgets, UnknownName
from emnas_gym.evaluator import Domain, Evaluator, Result
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.table import Metric
from emnas_gym.table_rows import chosen_trials, costs_of, looked_up, looked_up_columns
from emnas_gym.table_space import TableSpace
from emnas_gym.walks import Walks

Values = NDArray[np.float64]


class TableEvaluator(Evaluator):
    """Accuracy from the validation signal of a table, costs from its columns.

    Args:
        space: The table.
        metric: Which signal; the first one of the table if None.
        device: Whose costs, beside those of no device.
        trial: Which trial counts, from 0; the mean of all if None.
        noise_seed: By which one trial of each architecture is drawn, as a search would see it that
            trains each one once.

    Raises:
        UnknownName: If the table has no such metric.
        DomainError: If it has no such trial, or trial and noise seed are given.
    """

    def __init__(
        self,
        space: TableSpace,
        metric: str | None = None,
        device: Device | None = None,
        trial: int | None = None,
        noise_seed: int | None = None,
    ) -> None:
        known = space.table.metrics
        self.metric = next(iter(known)) if metric is None else metric
        if self.metric not in known:
            raise UnknownName("metric", self.metric, known)
        self.space, self.device, self.trial, self.noise_seed = space, device, trial, noise_seed
        self._accuracy = chosen_trials(self._signals.valid, trial, noise_seed)
        names = () if device is None else (device.name, device.core.lower())
        self._costs = costs_of(space.table.costs, names)
        self._rewards: dict[Problem, Values] = {}
        self.provides = frozenset({"accuracy", *self._costs})
        device_name = None if device is None else device.name
        self.domain = Domain(space.fingerprint, space.table.task.name, device_name)

    @property
    def _signals(self) -> Metric:
        return self.space.table.metrics[self.metric]

    def row(self, architecture: Architecture) -> int:
        """Index of the row that stands for an architecture.

        Raises:
            DomainError: If it is of another space.
        """
        if architecture.space != self.space:
            raise DomainError(f"{architecture!r} is not of the table {self.space.name}")
        return int(self.space.represented[self.space.row(architecture.tokens)])

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        return [looked_up(self._accuracy, self._costs, self.row(one)) for one in batch]

    def columns(self, walks: Walks) -> Columns:
        """Looks up finished walks, without an object for each."""
        if walks.space != self.space:
            return super().columns(walks)
        return looked_up_columns(self._accuracy, self._costs, self.space.rows_of(walks.tokens))

    # ----------------------------------------------------------------------------- for reports

    @property
    def has_test(self) -> bool:
        """Whether the table has test accuracies of the metric."""
        return bool(self._signals.test.shape[1])

    def test_accuracies(self, architecture: Architecture) -> list[float]:
        """Test accuracy of every trial: for reports, not for a search.

        Raises:
            DomainError: If it is of another space, or the table has no test accuracies.
        """
        if not self.has_test:
            raise DomainError(f"{self.space.name} has no column test/{self.metric}")
        found: list[float] = self._signals.test[self.row(architecture)].tolist()
        return found

    def training_seconds(self, architecture: Architecture) -> float | None:
        """What training the architecture took by the table: a search's simulated cost."""
        seconds = self._signals.seconds
        return None if seconds is None else float(seconds[self.row(architecture)])

    def rewards(self, problem: Problem) -> Values:
        """Reward of every row at mean accuracy, shape (N,); once a problem.

        Rows of one class have one reward. NaN where the architecture was not measured or breaks a
        budget.
        """
        if problem not in self._rewards:
            mean = self._signals.valid.mean(axis=1)
            rewards = np.full(len(mean), math.nan)
            for row in np.unique(self.space.represented).tolist():
                result = looked_up(mean, self._costs, row)
                if isinstance(result, Measurement) and not problem.budgets.broken(result):
                    rewards[row] = problem.reward(result)[0]
            self._rewards[problem] = rewards[self.space.represented]
        return self._rewards[problem]

    def optimum(self, problem: Problem) -> TableOptimum:
        """The best architecture for a problem, by looking at all of them at mean accuracies.

        Raises:
            InfeasibleBudgets: If none keeps the budgets.
        """
        rewards = self._known(problem)
        best = int(np.nanargmax(self.rewards(problem)))
        architecture = self.space.architecture(self.space.tokens_of(best))
        return TableOptimum(architecture, float(rewards[0]), len(rewards))

    def regret(self, problem: Problem, architecture: Architecture) -> float:
        """By how much the best reward exceeds that of an architecture, both at mean accuracy.

        An architecture that breaks a budget, or was not measured, counts as an illegal one.
        """
        return float(self.regrets(problem)[self.row(architecture)])

    def regrets(self, problem: Problem) -> Values:
        """Regret of every row, shape (N,); see `regret`."""
        rewards = self.rewards(problem)
        counted = np.where(np.isnan(rewards), problem.reward.illegal, rewards)
        regrets: Values = self._known(problem)[0] - counted
        return regrets

    def reports(self, problem: Problem, rows: NDArray[np.int64]) -> dict[str, Values]:
        """What an episode tells at its end that no search may use, each of shape (rows,).

        Args:
            problem: Reward and budgets.
            rows: Rows that stand for the architectures (`TableSpace.rows_of`).

        Returns:
            ``regret``; ``report_test_accuracy`` and ``simulated_seconds`` where the table has them.
        """
        found = {"regret": self.regrets(problem)[rows]}
        if self.has_test:
            found["report_test_accuracy"] = self._signals.test[rows].mean(axis=1)
        if self._signals.seconds is not None:
            found["simulated_seconds"] = self._signals.seconds[rows]
        return found

    def test_regret(self, architecture: Architecture) -> float:
        """The best mean test accuracy of the table minus that of an architecture.

        Raises:
            DomainError: If it is of another space, or the table has no test accuracies.
        """
        best = float(self._signals.test[self.space.represented].mean(axis=1).max())
        return best - float(np.mean(self.test_accuracies(architecture)))

    def top(self, problem: Problem, percent: float) -> float:
        """The reward from which on an architecture is among the best of the table.

        Args:
            problem: Reward and budgets.
            percent: Share of the networks that keep the budgets, repeats counted once; above 0.

        Raises:
            DomainError: If it is no percentage.
            InfeasibleBudgets: If no network keeps the budgets.
        """
        if not 0 < percent <= 100:
            raise DomainError(f"a share of the best is above 0 and at most 100 %, not {percent}")
        rewards = self._known(problem)
        return float(rewards[max(math.floor(percent / 100 * len(rewards)), 1) - 1])

    def _known(self, problem: Problem) -> Values:
        """Rewards of the networks that keep the budgets, repeats once, the best first."""
        rewards = self.rewards(problem)[np.unique(self.space.represented)]
        rewards = np.sort(rewards[~np.isnan(rewards)])[::-1]
        if not len(rewards):
            raise InfeasibleBudgets(
                f"no architecture of {self.space.name} keeps {problem.budgets.to_json()}"
            )
        return rewards


@dataclass(frozen=True)
class TableOptimum:
    """The best architecture of a table for a problem.

    Attributes:
        architecture: The first one of largest reward at mean accuracy.
        reward: That reward.
        networks: Networks that keep the budgets, repeats counted once.
    """

    architecture: Architecture
    reward: float
    networks: int
