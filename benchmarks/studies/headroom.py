"""How much a reward leaves to be won, in deviations of the noise of one training.

If the best network were hardly better than random search's best, no agent could show anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from agents.runs import Plan, make_agent
from emnas_gym.ledger import Ledger
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.registry import make_evaluator
from predictors.tables import packed_path, unpack

GOOD = 0.95  # validation accuracy of networks whose noise counts: those that winners come from
LONG = 10_000  # evaluations of the search for the best network


def headroom(seeds: int, evaluations: int, advance: Callable[[], None]) -> dict[str, float]:
    """Best known reward, random search's expected best, and the noise between them.

    Args:
        seeds: Runs of random search.
        evaluations: Of each of them.
        advance: Called after each run.

    Returns:
        ``best_known`` (a long run of evolution), ``random_expected`` and its standard error,
        ``accuracy_noise`` (pooled deviation between trainings of one network, those of the table
        above 95 %), ``reward_noise`` (what that is in reward at the best network) and
        ``deviations``: the difference in units of it.
    """
    problem = Plan().problem()
    best = _best(problem, "evolution", LONG, 100)
    advance()
    found = []
    for seed in range(seeds):
        found.append(_best(problem, "random", evaluations, seed)[0])
        advance()
    accuracy_noise = noise_of_good_networks()
    assert best[1].accuracy is not None
    reward_noise = accuracy_noise * best[0] / best[1].accuracy
    return {
        "best_known": best[0],
        "random_expected": float(np.mean(found)),
        "random_standard_error": float(np.std(found, ddof=1) / math.sqrt(seeds)),
        "seeds": seeds,
        "evaluations": evaluations,
        "accuracy_noise": accuracy_noise,
        "reward_noise": reward_noise,
        "deviations": (best[0] - float(np.mean(found))) / reward_noise,
    }


def noise_of_good_networks() -> float:
    """Pooled deviation of validation accuracy between seeds, over the table's good networks."""
    accuracies: dict[Any, list[float]] = {}
    for training in unpack(packed_path("emnas-382", "digits")).trainings:
        accuracies.setdefault(training.tokens, []).append(training.curve[-1])
    good = [a for a in accuracies.values() if len(a) > 1 and np.mean(a) > GOOD]
    return float(np.sqrt(np.mean([np.var(a, ddof=1) for a in good])))


def _best(problem: Problem, agent: str, evaluations: int, seed: int) -> tuple[float, Measurement]:
    ledger = Ledger(make_evaluator("surrogate", problem), problem, evaluations)
    make_agent(agent).search(problem, ledger, seed)
    row = ledger.best
    assert row is not None
    assert isinstance(row.result, Measurement)
    return row.reward, row.result
