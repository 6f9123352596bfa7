"""The evaluator that looks up: every network of a small space, really trained, noise included.

The space is `emnas-bench-8`. Its optimum is known, so that an agent's regret is; and its trainings
are kept one by one, so that a search can be replayed under the noise of really training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from emnas_gym.architecture import Architecture
from emnas_gym.bench_file import BenchTable, read_bench, shipped_bench
from emnas_gym.devices import Device
from emnas_gym.errors import DomainError
from emnas_gym.evaluator import Domain, Evaluator, Result
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.table_rows import chosen_trials, costs_of, looked_up

LEVEL = 1.96  # standard deviations of a 95 % interval


class BenchEvaluator(Evaluator):
    """Accuracy from the table, and whatever costs it holds for the device.

    By default the accuracy is the mean over the trainings of a network: the same for everybody.
    With ``trial`` it is that of one training; with ``noise_seed`` every network has one of its
    trainings, drawn by the seed, as a search would see it that trains each network once.

    Args:
        table: The table.
        device: The device; columns of its name, and of its core, are given.
        trial: Which training counts, from 0.
        noise_seed: By which one training of each network is drawn.

    Raises:
        DomainError: If the table has no such trial, or both are given.
    """

    def __init__(
        self,
        table: BenchTable,
        device: Device | None = None,
        trial: int | None = None,
        noise_seed: int | None = None,
    ) -> None:
        self._accuracy = chosen_trials(table.valid_accuracy, trial, noise_seed)
        self.table = table
        about = table.about
        self.domain = Domain(about["space_fingerprint"], about["task"])
        self._rows = {tokens: i for i, tokens in enumerate(table.networks())}
        names = (device.name, device.core.lower()) if device is not None else ()
        self._costs = costs_of(table.costs, names)
        self.provides = frozenset({"accuracy", *self._costs})

    @classmethod
    def for_problem(cls, problem: Problem) -> Self:
        """Makes the evaluator from the table of the package.

        Raises:
            DomainError: If the problem is not the one that the table is of.
            StoreError: If the file is damaged.
        """
        evaluator = cls(read_bench(shipped_bench()), problem.device)
        difference = evaluator.domain.difference(problem)
        if difference:
            space = evaluator.table.about["space"]
            raise DomainError(
                f"the table has every network of {space} on {evaluator.domain.task}; it was asked "
                f"for {difference}; make the environment with space={space!r}, or use "
                "evaluator='surrogate' or 'trained'"
            )
        return evaluator

    def row(self, architecture: Architecture) -> int:
        """Index of a network in the table.

        Raises:
            DomainError: If it is of another space.
        """
        if architecture.space.fingerprint != self.domain.space:
            raise DomainError(f"{architecture!r} is not of the space {self.table.about['space']}")
        return self._rows[architecture.canonical]

    def test_accuracies(self, architecture: Architecture) -> list[float]:
        """Test accuracy of every training: for reports, not for a search.

        Raises:
            DomainError: If it is of another space.
        """
        found: list[float] = self.table.test_accuracy[self.row(architecture)].tolist()
        return found

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        return [looked_up(self._accuracy, self._costs, self.row(one)) for one in batch]


@dataclass(frozen=True)
class Optimum:
    """The best network of a problem, and how sure that is.

    Attributes:
        architecture: The network of largest reward at mean accuracies.
        reward: That reward.
        interval: Where the reward lies if the mean accuracy lies in its own 95 % interval.
        accuracy: Mean validation accuracy.
        deviation: Of one training around its mean, pooled over the best tenth of the networks.
        rivals: Other networks whose interval reaches this reward.
        networks: Networks that keep the budgets.
    """

    architecture: Architecture
    reward: float
    interval: tuple[float, float]
    accuracy: float
    deviation: float
    rivals: int
    networks: int


def optimum(problem: Problem, measure: Evaluator, table: BenchTable) -> Optimum:
    """The best network of the table for a problem, by looking at all of them.

    The mean of three trainings is itself uncertain, and the largest of many means is too large by
    chance: the interval and the rivals say by how much.

    Args:
        problem: Reward and budgets.
        measure: Evaluates at mean accuracies, e.g. what ``make_evaluator("bench", problem)`` gives.
        table: The trainings.

    Raises:
        InfeasibleBudgets: If no network keeps the budgets.
    """
    networks = list(problem.space.enumerate(problem.task, problem.automaton.budgets))
    results = measure.evaluate(networks)
    known = [(a, r) for a, r in zip(networks, results, strict=True) if isinstance(r, Measurement)]
    kept = [(a, r) for a, r in known if not problem.budgets.broken(r)]
    deviation = pooled_deviation(table)
    half = LEVEL * deviation / table.trials**0.5
    rewards = [problem.reward(r)[0] for _, r in kept]
    highs = [_shifted(problem, r, half) for _, r in kept]
    best = int(np.argmax(rewards))
    architecture, result = kept[best]
    return Optimum(
        architecture,
        rewards[best],
        (_shifted(problem, result, -half), highs[best]),
        result.accuracy or 0.0,
        deviation,
        sum(high >= rewards[best] for high in highs) - 1,
        len(kept),
    )


def _shifted(problem: Problem, result: Measurement, by: float) -> float:
    """The reward if the accuracy were another, within 0 … 1."""
    accuracy = min(max((result.accuracy or 0.0) + by, 0.0), 1.0)
    return problem.reward(result.overridden(Measurement.of("table", accuracy=accuracy)))[0]


def pooled_deviation(table: BenchTable, share: float = 0.1) -> float:
    """Standard deviation of one training around its network's mean, over the best networks.

    Args:
        table: The trainings.
        share: Share of the networks, by mean accuracy.
    """
    known = table.valid_accuracy
    best = np.argsort(-known.mean(axis=1), kind="stable")[: max(round(share * len(known)), 2)]
    return float(np.sqrt(known[best].var(axis=1, ddof=1).mean()))
