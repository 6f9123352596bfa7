"""Non-dominated sorting, crowding, constraints and NSGA-II's rules, against brute force."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optimum_contract import check_finds_optimum
from table_worlds import small_table
from tiny_worlds import Formula, in_memory

from agents.base import OptionError
from agents.evolutionary.dominance import crowding, dominance, fronts
from agents.evolutionary.individuals import Individual
from agents.evolutionary.objectives import Objectives, violation
from agents.nsga2 import NSGA2, Ranked, crowded_tournament, rank, survivors
from emnas_gym.budgets import Budgets
from emnas_gym.errors import EvaluationError, UnknownName
from emnas_gym.ledger import Ledger
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.table_env import table_problem
from emnas_gym.testing import tiny_problem

VALUES = st.integers(0, 4).map(float)  # few values: equal points and ties are frequent
CLOUDS = st.integers(1, 4).flatmap(
    lambda width: st.lists(
        st.lists(VALUES, min_size=width, max_size=width), min_size=1, max_size=14
    )
)
BROKEN = st.lists(st.sampled_from([0.0, 0.0, 0.5, 1.0, np.inf]), min_size=14, max_size=14)


def _beats(a: list[float], b: list[float], worse_a: float, worse_b: float) -> bool:
    """Constraint-domination as Deb et al. 2002 word it (definition 1)."""
    if worse_a == 0 and worse_b > 0:
        return True
    if worse_a > 0 or worse_b > 0:
        return worse_a > 0 and worse_b > 0 and worse_a < worse_b
    no_worse = all(x >= y for x, y in zip(a, b, strict=True))
    return no_worse and any(x > y for x, y in zip(a, b, strict=True))


@given(CLOUDS, BROKEN)
def test_fronts_are_the_brute_force(cloud: list[list[float]], broken: list[float]) -> None:  # C13
    """A front is what none of those that are left dominates."""
    points = np.array(cloud).reshape(len(cloud), -1)
    violations = np.array(broken[: len(cloud)])
    left, expected = set(range(len(cloud))), []
    while left:
        front = [
            i
            for i in sorted(left)
            if not any(_beats(cloud[j], cloud[i], broken[j], broken[i]) for j in left)
        ]
        expected.append(front)
        left -= set(front)
    assert [front.tolist() for front in fronts(points, violations)] == expected
    matrix = dominance(points, violations)
    for i in range(len(cloud)):
        for j in range(len(cloud)):
            assert matrix[i, j] == _beats(cloud[i], cloud[j], broken[i], broken[j])


@given(CLOUDS)
def test_without_constraints_all_are_feasible(cloud: list[list[float]]) -> None:
    points = np.array(cloud).reshape(len(cloud), -1)
    free, none_broken = fronts(points), fronts(points, np.zeros(len(cloud)))
    assert [f.tolist() for f in free] == [f.tolist() for f in none_broken]


@given(
    st.lists(
        st.tuples(st.integers(-50, 50), st.integers(-50, 50), st.integers(-50, 50)),
        min_size=1,
        max_size=12,
        unique_by=(lambda p: p[0], lambda p: p[1], lambda p: p[2]),
    )
)
def test_crowding_is_the_brute_force(cloud: list[tuple[int, int, int]]) -> None:  # C13
    found = crowding(np.array(cloud, dtype=float))
    if len(cloud) == 1:
        assert found.tolist() == [0.0]
        return
    for i, point in enumerate(cloud):
        expected = 0.0
        for m in range(3):
            column = [other[m] for other in cloud]
            above = [value for value in column if value > point[m]]
            below = [value for value in column if value < point[m]]
            if above and below:
                expected += (min(above) - max(below)) / (max(column) - min(column))
            else:
                expected = np.inf
        assert found[i] == pytest.approx(expected)


def test_crowding_of_a_front_by_hand() -> None:
    front = np.array([[0.0, 10.0], [1.0, 8.0], [4.0, 2.0], [5.0, 0.0]])
    assert crowding(front) == pytest.approx([np.inf, 4 / 5 + 8 / 10, 4 / 5 + 8 / 10, np.inf])
    assert crowding(np.ones((3, 2))).tolist() == [0.0] * 3, "equal objectives say nothing"
    constant = np.array([[0.0, 1.0], [1.0, 1.0], [4.0, 1.0]])
    assert crowding(constant) == pytest.approx([np.inf, 1.0, np.inf])


# --------------------------------------------------------------------------------- the rules


def _measured(birth: int, accuracy: float, latency: float) -> Individual:
    result = Measurement.of("predicted", accuracy=accuracy, latency_ms=latency)
    return Individual(birth, (birth,), accuracy, result)


def _objectives(**budgets: float) -> Objectives:
    problem = tiny_problem()
    limited = Problem.make(problem.space, budgets=Budgets(**budgets))  # type: ignore[arg-type]
    return Objectives(limited, ("accuracy", "latency_ms"), (1.0, -1.0))


def test_the_crowded_comparison_and_who_lives_on() -> None:
    alive = [
        _measured(0, 0.9, 9.0),  # an end of the first front
        _measured(1, 0.8, 8.0),  # crowded
        _measured(2, 0.79, 7.9),  # crowded
        _measured(3, 0.2, 1.0),  # the other end
        _measured(4, 0.1, 1.5),  # dominated
    ]
    ranked = rank(alive, _objectives())
    assert ranked.front.tolist() == [0, 0, 0, 0, 1]
    assert ranked.distance[1] == pytest.approx((0.9 - 0.79) / 0.7 + 1.1 / 8)
    kept = survivors(ranked, 3)
    assert {one.birth for one in kept.alive} == {0, 3, 2}, "2 has more room than 1"
    everyone = survivors(ranked, 5)
    assert everyone.alive[-1].birth == 4
    rng, draws = np.random.default_rng(0), 20_000
    two = Ranked(alive[3:], ranked.front[3:], ranked.distance[3:])
    won = Counter(crowded_tournament(two, rng).birth for _ in range(draws))
    assert abs(won[3] / draws - 3 / 4) < 3 * np.sqrt(3 / 16 / draws), "it loses to itself alone"


def test_what_breaks_a_budget_or_failed_comes_last() -> None:  # E8
    failed = Individual(4, (), -1.0, EvaluationError("no"))
    refused = Individual(
        5, (), 0.0, Measurement.of("predicted", accuracy=1.0, latency_ms=1.0, feasible=False)
    )
    alive = [
        _measured(0, 0.1, 4.0),
        _measured(1, 0.99, 6.0),  # 20 % over
        _measured(2, 0.98, 5.5),  # 10 % over
        failed,
        refused,  # counts as 100 % over
    ]
    limited = _objectives(latency_ms=5.0)
    order = survivors(rank(alive, limited), 5)
    assert [one.birth for one in order.alive] == [0, 2, 1, 5, 4]
    assert order.front.tolist() == [0, 1, 2, 3, 4]
    assert violation(limited.problem, alive[1].result) == pytest.approx(0.2)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------- the agent


def test_finds_the_optimum() -> None:
    check_finds_optimum(lambda: NSGA2.with_options(population=8))


def _true_front(problem: Problem, ledger: Ledger) -> set[tuple[int, ...]]:
    every = list(problem.space.enumerate(problem.task, problem.automaton.budgets))
    known = {}
    for one in every:
        (result,) = ledger.evaluator.evaluate([one])
        assert isinstance(result, Measurement)
        known[one.canonical] = (result.accuracy, -result.latency_ms)  # type: ignore[operator]
    return {
        key
        for key, point in known.items()
        if not any(
            other != point and other[0] >= point[0] and other[1] >= point[1]  # type: ignore[operator]
            for other in known.values()
        )
    }


@pytest.mark.parametrize("seed", range(5))
def test_its_front_is_the_true_front(seed: int) -> None:  # C13, E7
    problem, evaluator = table_problem(small_table(), device="board")
    ledger, agent = Ledger(evaluator, problem, 60), NSGA2.with_options(population=6)
    agent.search(problem, ledger, seed)
    assert isinstance(agent, NSGA2)
    found = [row.canonical for row in agent.front_]
    assert len(set(found)) == len(found), "each once"
    assert set(found) == _true_front(problem, ledger)


def test_objectives_by_name(problem: Problem) -> None:  # E7
    ledger = Ledger(Formula(), problem, 30)
    with pytest.raises(OptionError, match="not measured"):
        NSGA2.with_options(objectives="accuracy,macs").search(problem, ledger, 0)
    with pytest.raises(UnknownName, match="did you mean accuracy"):
        NSGA2.with_options(objectives="acuracy").search(problem, ledger, 0)
    with pytest.raises(OptionError, match="once"):
        NSGA2.with_options(objectives="accuracy,accuracy").search(problem, ledger, 0)
    agent = NSGA2.with_options(objectives="accuracy", population=8)
    agent.search(problem, ledger, 0)
    assert isinstance(agent, NSGA2)
    best = max(row.result.accuracy for row in ledger.rows)  # type: ignore[union-attr, type-var]
    assert {row.result.accuracy for row in agent.front_} == {best}  # type: ignore[union-attr]


def test_the_front_stands_after_an_interrupted_search() -> None:
    problem = tiny_problem()
    agent, ledger = NSGA2.with_options(population=8), in_memory(problem, 5)
    agent.search(problem, ledger, 0)
    assert isinstance(agent, NSGA2)
    assert [row.reward for row in agent.front_] == [ledger.best.reward]


BAD = [{"population": 1}, {"crossover": 2.0}, {"mutation": -1.0}, {"sampler": "x"}]


@pytest.mark.parametrize("options", BAD, ids=str)
def test_bad_values_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        NSGA2.with_options(**options)
