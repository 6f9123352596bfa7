"""What an evaluator that looks up in a table knows beside its measurements, where there is one.

Such an evaluator has ``optimum(problem)``, ``rewards(problem)`` and ``row(architecture)`` at mean
accuracies, whatever noise the search sees, and reports that no search reads:
``test_accuracies``, ``test_regret`` and ``training_seconds`` of an architecture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from emnas_gym.architecture import Architecture
from emnas_gym.evaluator import Evaluator, EvaluatorStack
from emnas_gym.history import Row
from emnas_gym.problem import Problem

NEEDED = ("optimum", "rewards", "row", "regret")


def parts(evaluator: Evaluator) -> tuple[Evaluator, ...]:
    """The evaluators that one consists of; itself if of no others."""
    return evaluator.parts if isinstance(evaluator, EvaluatorStack) else (evaluator,)


def known_table(evaluator: Evaluator) -> Any | None:  # noqa: ANN401
    """The part that knows its whole table; None where none does."""
    found = (p for p in parts(evaluator) if all(callable(getattr(p, n, None)) for n in NEEDED))
    return next(found, None)


def known_optimum(evaluator: Evaluator, problem: Problem) -> dict[str, Any] | None:
    """Best reward of the table, with its interval where the table gives one."""
    table = known_table(evaluator)
    if table is None:
        return None
    found = table.optimum(problem)
    low, high = getattr(found, "interval", None) or (found.reward, found.reward)
    return {"reward": float(found.reward), "interval": [float(low), float(high)]}


def true_rewards(
    evaluator: Evaluator, problem: Problem, networks: Sequence[Architecture]
) -> list[float] | None:
    """Rewards of networks at mean accuracy; None where no table knows them."""
    table = known_table(evaluator)
    if table is None:
        return None
    rewards = table.rewards(problem)
    found = [float(rewards[table.row(network)]) for network in networks]
    return [problem.reward.illegal if math.isnan(value) else value for value in found]


def winner_report(
    evaluator: Evaluator, problem: Problem, winner: Architecture
) -> dict[str, float | None]:
    """Regret, mean test accuracy and its regret of a winner, each where a table knows it."""
    table = known_table(evaluator)
    if table is None:
        return {"test": None, "test_regret": None}
    report = {"regret": float(table.regret(problem, winner)), "test": None, "test_regret": None}
    if getattr(table, "has_test", False):
        report["test"] = float(np.mean(table.test_accuracies(winner)))
        report["test_regret"] = float(table.test_regret(winner))
    return report


def simulated_seconds(evaluator: Evaluator, problem: Problem, rows: Sequence[Row]) -> float | None:
    """What training every evaluated network once took by the table; None where it does not say."""
    table = known_table(evaluator)
    if table is None or not callable(getattr(table, "training_seconds", None)):
        return None
    distinct = {row.canonical: row.tokens for row in rows}.values()
    found = [table.training_seconds(problem.space.architecture(tokens)) for tokens in distinct]
    return None if None in found else float(sum(found))
