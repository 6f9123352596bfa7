"""Suites of a few evaluations, run in this process, and what stands in their folders."""

from __future__ import annotations

import io
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest
from rich.console import Console

from benchmarks.comparison import aggregates
from benchmarks.suites.execution import Execution, InTurn
from benchmarks.suites.run import Part, run_suite
from benchmarks.suites.suite import Entry, Environment, Suite
from emnas_gym.analytic import AnalyticEvaluator
from emnas_gym.architecture import Architecture
from emnas_gym.errors import EvaluationError
from emnas_gym.evaluator import Evaluator, Result
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem

TIMES = ("seconds", "cpu_seconds")


class EveryNetwork(Evaluator):
    """Invented accuracies of every network of a small space: what is measured, without noise."""

    provides = frozenset({"accuracy", "latency_ms"})

    def __init__(self, problem: Problem) -> None:
        self.problem, self._costs = problem, AnalyticEvaluator.for_problem(problem)
        every = problem.space.enumerate(problem.task, problem.automaton.budgets)
        self.networks = sorted({network.canonical for network in every})
        self._rows = {tokens: i for i, tokens in enumerate(self.networks)}
        self.trials = np.random.default_rng(0).beta(5, 2, (len(self.networks), 3))
        self.signal = self.trials.mean(axis=1)

    @classmethod
    def for_problem(cls, problem: Problem) -> Self:
        return cls(problem)

    def row(self, architecture: Architecture) -> int:
        return self._rows[architecture.canonical]

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        return [
            cost if isinstance(cost, EvaluationError)
            else cost.overridden(Measurement.of("table", accuracy=self.signal[self.row(one)]))
            for one, cost in zip(batch, self._costs.evaluate(batch), strict=True)
        ]  # fmt: skip


class Patient(EveryNetwork):
    """Goes on after its first batch only when a file is there (a test's, or two minutes)."""

    batches = 0

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        deadline = time.monotonic() + 120
        while self.batches and not Path(os.environ["EMNAS_TEST_MOVED"]).exists():
            assert time.monotonic() < deadline, "nobody has seen the first batch"
            time.sleep(0.01)
        self.batches += 1
        return super()._evaluate(batch)


class NoisyTable(EveryNetwork):
    """Gives one trial of each network to the search, and knows means, tests and seconds."""

    has_test = True

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self._mean, self.signal = self.signal, self.trials[:, 0]
        self._test = 1.0 - self.trials[:, 1]

    def rewards(self, problem: Problem) -> np.ndarray:
        networks = [problem.space.architecture(tokens) for tokens in self.networks]
        costs = self._costs.evaluate(networks)
        return np.array(
            [
                problem.reward(cost.overridden(Measurement.of("table", accuracy=mean)))[0]
                for cost, mean in zip(costs, self._mean, strict=True)
                if isinstance(cost, Measurement)
            ]
        )

    def optimum(self, problem: Problem) -> SimpleNamespace:
        return SimpleNamespace(reward=self.rewards(problem).max())

    def regret(self, problem: Problem, architecture: Architecture) -> float:
        rewards = self.rewards(problem)
        return float(rewards.max() - rewards[self.row(architecture)])

    def test_accuracies(self, architecture: Architecture) -> list[float]:
        return [float(self._test[self.row(architecture)])]

    def test_regret(self, architecture: Architecture) -> float:
        return float(self._test.max() - self._test[self.row(architecture)])

    def training_seconds(self, architecture: Architecture) -> float:
        return 10.0 + self.row(architecture)


WHOLLY_KNOWN = Environment(
    "known", "EmNAS-v0", 60, {"space": "emnas-bench-8", "evaluator": "small_suites:EveryNetwork"}
)
NOISY = Environment(
    "noisy", "EmNAS-v0", 60, {"space": "emnas-bench-8", "evaluator": "small_suites:NoisyTable"}
)


def small_suite(seeds: int = 2, evaluations: int = 60, **changes: Any) -> Suite:
    """Random search (both samplers) and evolution on the default environment's surrogate."""
    known: dict[str, Any] = {
        "name": "small",
        "title": "A small one",
        "seeds": seeds,
        "environments": (Environment("digits", "EmNAS-v0", evaluations),),
        "agents": (
            Entry("random", "random", {"batch": 4}),
            Entry("evolution", "evolution", {"population": 10, "tournament": 3}),
        ),
        "reference": 20,
    }
    return Suite(**(known | changes))


def suite_text(head: str, random: str = "", evolution: str = "") -> str:
    """The file of such a suite.

    Args:
        head: Name, evaluations, seeds and so on, one a line.
        random: Options of random search.
        evolution: Options of evolution.
    """
    return f"""{head.strip()}

[[environments]]
label = "digits"
env = "EmNAS-v0"

[[agents]]
label = "random"
agent = "random"
options = {{ {random} }}

[[agents]]
label = "evolution"
agent = "evolution"
options = {{ {evolution} }}
"""


def run_here(
    suite: Suite,
    out: Path,
    part: Part | None = None,
    execution: Execution | None = None,
    tensorboard: bool = False,
) -> dict[str, Any]:
    """Runs a suite in this process."""
    console = Console(file=io.StringIO())
    return run_suite(suite, out, 1, console, part, execution or InTurn(), "", tensorboard)


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Coarse bootstrap intervals, where a test asks for none."""
    monkeypatch.setattr(aggregates, "DRAWS", 20)
    yield


def rows_of(folder: Path) -> dict[str, Any]:
    """Everything that the finished runs of a suite tell, wall times aside, by relative path."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("evaluations.jsonl")):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        found[str(path.relative_to(folder))] = [timeless(line) for line in lines]
    for path in sorted(folder.rglob("run.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        found[str(path.relative_to(folder))] = timeless(run) | {
            "winner": run["winner"] | {"measurement": timeless(run["winner"]["measurement"])}
        }
    return found


def timeless(data: dict[str, Any]) -> dict[str, Any]:
    """The data without what every process measures anew."""
    return {key: value for key, value in data.items() if key not in TIMES}
