"""The effect of doubting and verifying, over seeds: worlds, arms, intervals, differences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from emnas_gym.budgets import Budgets
from emnas_gym.errors import UnknownName
from emnas_gym.evaluator import Evaluator
from emnas_gym.ledger import Ledger
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.registry import make_evaluator
from emnas_gym.surrogate import SurrogateEvaluator
from predictors.audit import AuditedEvaluator
from predictors.audit_study import (
    ARMS,
    EVALUATIONS,
    Arm,
    Outcome,
    TableTruth,
    climb,
    distinct_best,
    draw,
    pick_from,
    run,
    weak_surrogate,
)
from predictors.fit_digits import committed
from predictors.fitted import Figures
from predictors.intervals import interval
from predictors.store import Tokens
from predictors.trained import TrainedEvaluator

Array = NDArray[np.float64]
LIMITS = Budgets(ram_bytes=8192, flash_bytes=32768)  # those of the registered environments
WORLDS = {  # name → networks that the predictor is fitted on
    "table, 100 rows": 100,
    "table, 300 rows": 300,
    "space, 50 rows": 50,
    "space, 200 rows": 200,
}
PLACES = 60  # of the course of a search that are kept for the picture
REAL_ARMS = ("plain", "lcb 1", "random")


@dataclass(frozen=True)
class World:
    """A problem whose truth is free.

    Attributes:
        problem: What is searched.
        truth: Accuracy of every network that a search can meet.
        shipped: The shipped surrogate: lends its domain to weaker ones.
    """

    problem: Problem
    truth: Evaluator
    shipped: SurrogateEvaluator


@lru_cache(maxsize=1)
def labels() -> dict[Tokens, float]:
    """Canonical tokens → mean trained accuracy, of the committed table."""
    space = Problem.make().space
    table = committed().accuracies()
    return {space.canonical_tokens(tokens): float(np.mean(v)) for tokens, v in table.items()}


def make_world(name: str) -> World:
    """A world by name.

    Raises:
        UnknownName: If there is none of the name.
    """
    if name not in WORLDS:
        raise UnknownName("world", name, WORLDS)
    problem = Problem.make(budgets=LIMITS)
    shipped = SurrogateEvaluator.for_problem(problem)
    alone = SurrogateEvaluator(shipped.accuracy, problem.task)
    truth = TableTruth(labels()) if name.startswith("table") else alone
    return World(problem, truth, shipped)


def outcomes(name: str, seed: int) -> dict[str, Outcome]:
    """Arm → how its search ended, all arms with the same predictor.

    Args:
        name: One of `WORLDS`.
        seed: Decides which networks the predictor is fitted on, and all searches.
    """
    world, count, known = make_world(name), WORLDS[name], labels()
    fitting = [tokens for tokens in known if world.problem.automaton.fits(tokens)]
    order = np.random.default_rng([seed, 1]).permutation(len(fitting))
    networks = [fitting[i] for i in order[:count]]
    accuracy = np.array([known[tokens] for tokens in networks])
    predictor = weak_surrogate(world.shipped.accuracy, world.problem, networks, accuracy, seed)
    rest = [fitting[i] for i in order[count:]]
    found = {}
    for label, arm in ARMS.items():
        search = pick_from(rest) if name.startswith("table") else climb if arm.climbs else draw
        if name.startswith("table") and label.startswith("random"):
            continue  # a search that picks from a list is random search already
        found[label] = run(arm, world.problem, predictor, world.truth, search, seed)
    return found


def effect(name: str, seeds: int, advance: Callable[[], None] = lambda: None) -> Figures:
    """Optimism and true reward of the winners in a world.

    Args:
        name: One of `WORLDS`.
        seeds: Searches of every arm, each with a predictor of its own.
        advance: Called after each seed.

    Returns:
        For each arm ``optimism``, ``verified`` and ``accuracy`` as [low, mean, high] with 95 %,
        ``truths`` (mean), ``gain``: the difference to "plain" in true reward, seed by seed, and
        ``course``: promised and true reward of the best so far, the mean over seeds.
    """
    rows = []
    for seed in range(seeds):
        rows.append(outcomes(name, seed))
        advance()
    return {label: _summary([row[label] for row in rows], rows) for label in rows[0]}


def _summary(mine: Sequence[Outcome], rows: Sequence[Mapping[str, Outcome]]) -> Figures:
    plain = np.array([row["plain"].verified for row in rows])
    verified = np.array([outcome.verified for outcome in mine])
    return {
        "optimism": interval(np.array([outcome.optimism for outcome in mine])),
        "verified": interval(verified),
        "accuracy": interval(np.array([outcome.accuracy for outcome in mine])),
        "gain": interval(verified - plain),
        "truths": float(np.mean([outcome.truths for outcome in mine])),
        "course": _mean_course(mine),
    }


def _mean_course(mine: Sequence[Outcome]) -> Figures:
    """Promised and true reward of the best so far at some evaluations."""
    places = np.linspace(20, EVALUATIONS, PLACES).astype(int)
    lines = np.array([[_at(outcome, place) for place in places] for outcome in mine])
    promised, true = lines.mean(axis=0).T.tolist()
    return {"evaluations": places.tolist(), "promised": promised, "true": true}


def _at(outcome: Outcome, place: int) -> tuple[float, float]:
    done = [step for step in outcome.course if step[0] < place]
    return done[-1][1:]


def trained(seeds: int, winners: int = 5, advance: Callable[[], None] = lambda: None) -> Figures:
    """The same with the shipped surrogate, and a truth that really trains the winners.

    Args:
        seeds: Searches of each of `REAL_ARMS`.
        winners: Best networks of a search that are trained, once each.
        advance: Called after each search.
    """
    problem = Problem.make(budgets=LIMITS)
    predictor = SurrogateEvaluator.for_problem(problem)
    truth = TrainedEvaluator.for_problem(problem)
    try:
        found: dict[str, list[list[float]]] = {}
        for label in REAL_ARMS:
            for seed in range(seeds):
                found.setdefault(label, []).append(
                    _train(ARMS[label], problem, predictor, truth, seed, winners)
                )
                advance()
    finally:
        truth.close()
    names = ("optimism", "verified", "promised_of_best", "verified_of_best")
    return {
        label: {n: interval(column) for n, column in zip(names, np.array(rows).T, strict=True)}
        | {"seeds": seeds, "winners": winners}
        for label, rows in found.items()
    }


def _train(
    arm: Arm,
    problem: Problem,
    predictor: SurrogateEvaluator,
    truth: TrainedEvaluator,
    seed: int,
    winners: int,
) -> list[float]:
    """Mean optimism and true reward of the winners, and both rewards of the first."""
    audited = AuditedEvaluator(predictor, truth, problem, arm.options)
    ledger = Ledger(make_evaluator([audited], problem), problem, arm.evaluations)
    (climb if arm.climbs else draw)(problem, ledger, np.random.default_rng(seed))
    best = distinct_best(ledger.rows, winners)
    answers = truth.evaluate([problem.space.architecture(row.tokens) for row in best])
    rewards = []
    for row, answer in zip(best, answers, strict=True):
        assert isinstance(row.result, Measurement)
        assert isinstance(answer, Measurement)
        rewards.append(problem.reward(row.result.overridden(answer))[0])
    promised = [row.reward for row in best]
    optimism = float(np.mean(promised) - np.mean(rewards))
    return [optimism, float(np.mean(rewards)), promised[0], rewards[0]]
