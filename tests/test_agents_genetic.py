from __future__ import annotations

import logging

import numpy as np
import pytest
import tiny_worlds
from optimum_contract import check_finds_optimum
from table_worlds import small_table

from agents.base import OptionError
from agents.genetic import Genetic
from emnas_gym.problem import Problem
from emnas_gym.table_env import table_problem
from emnas_gym.testing import check_agent, tiny_problem

WAYS = [
    {"selection": "roulette", "replacement": "oldest", "elites": 0, "batch": 1},
    {"selection": "rank", "replacement": "generational", "batch": 8},
    {"selection": "elitism", "elites": 3, "initial": "trivial", "crossover": 1.0},
]


def test_finds_the_optimum() -> None:
    check_finds_optimum(lambda: Genetic.with_options(population=8))


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way["selection"])
def test_every_rule_keeps_the_contract(way: dict[str, object]) -> None:  # B16
    check_agent(lambda: Genetic.with_options(population=8, **way), evaluations=80)


def test_a_search_of_fixed_length(problem: Problem) -> None:  # A21
    ledger = tiny_worlds.formula(problem, 120)
    Genetic.with_options(length=7).search(problem, ledger, 0)
    assert {len(row.tokens) for row in ledger.rows} == {7}
    assert ledger.distinct == 120


def test_trivial_networks_grow(problem: Problem) -> None:  # C2
    ledger = tiny_worlds.formula(problem, 300)
    Genetic.with_options(initial="trivial", population=16).search(problem, ledger, 0)
    first = ledger.rows[:16]
    assert {len(row.tokens) for row in first} == {problem.min_layers}
    later = {len(row.tokens) for row in ledger.rows[16:]}
    assert max(later) > problem.min_layers, "variation works in the whole space"
    assert ledger.best.reward > max(row.reward for row in first)


def test_the_best_never_dies_and_the_mean_rises(problem: Problem) -> None:  # C5, C6
    agent, ledger = Genetic.with_options(), tiny_worlds.formula(problem, 200)
    agent.search(problem, ledger, 1)
    assert isinstance(agent, Genetic)
    alive = [one.fitness for one in agent.alive_]
    assert max(alive) == ledger.best.reward
    assert np.mean(alive) > np.mean([row.reward for row in ledger.rows[:16]])


def test_steps_come_in_the_order_of_the_flowchart(
    problem: Problem, caplog: pytest.LogCaptureFixture
) -> None:  # C12
    ledger = tiny_worlds.formula(problem, 32)
    with caplog.at_level(logging.DEBUG, logger="agents.genetic"):
        Genetic.with_options(population=24, batch=4).search(problem, ledger, 0)
    steps = [record.message for record in caplog.records]
    generation = ["selection and variation", "evaluation", "replacement"]
    assert steps == ["initialisation", "evaluation", *generation, *generation]


def test_the_preset_is_regularised_evolution() -> None:  # C7, C9, C10
    """Only the last ten are parents, one position changes, repeats are measured again."""
    problem, evaluator = table_problem(small_table(), classes=False)
    ledger = tiny_worlds.Ledger(evaluator, problem, 300)
    preset = {"crossover": 0.0, "mutation": 1.0, "replacement": "oldest", "elites": 0, "batch": 1}
    preset |= {"population": 10, "tournament": 3, "repeats": True}
    Genetic.with_options(**preset).search(problem, ledger, 0)
    for number in range(10, 300):
        parents = ledger.rows[number - 10 : number]
        child = ledger.rows[number].tokens
        assert min(problem.space.distance(child, one.tokens) for one in parents) <= 1
        assert any(problem.space.distance(child, one.tokens) == 1 for one in parents)
    assert ledger.distinct == 12


def test_a_space_without_anything_new_is_searched_to_the_end() -> None:
    problem = tiny_problem()
    ledger = tiny_worlds.in_memory(problem, 100)
    Genetic.with_options(population=30, batch=7).search(problem, ledger, 0)
    assert (ledger.count, ledger.distinct) == (100, 12)


REFUSED = [
    {"population": 1},
    {"initial": "poor"},
    {"initial": "rich"},
    {"networks": "1 2 3"},
    {"length": -1},
    {"sampler": "x"},
    {"selection": "x"},
    {"replacement": "x"},
    {"tournament": 0},
    {"crossover": 1.1},
    {"mutation": -0.1},
    {"distance": 0},
    {"elites": 16},
    {"elites": 0, "selection": "elitism"},
    {"batch": 0},
]


@pytest.mark.parametrize("options", REFUSED, ids=str)
def test_bad_values_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        Genetic.with_options(**options)
