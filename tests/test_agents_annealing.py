from __future__ import annotations

import math

import numpy as np
import pytest
from optimum_contract import check_finds_optimum
from table_worlds import small_table
from tiny_worlds import formula, in_memory

from agents.annealing import Annealing, Walk, acceptance, interquartile, temperature
from agents.base import OptionError
from agents.evolutionary.individuals import Census, Individual
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem
from emnas_gym.table_env import table_problem
from emnas_gym.testing import check_agent, tiny_problem


def test_finds_the_optimum() -> None:
    check_finds_optimum(lambda: Annealing.with_options(start=4))


@pytest.mark.parametrize("options", [{"batch": 4, "plateau": 10}, {"repeats": True, "spread": 3.0}])
def test_the_contract_of_its_options(options: dict[str, object]) -> None:
    check_agent(lambda: Annealing.with_options(**options), evaluations=100)


def test_the_rule_of_metropolis() -> None:
    assert acceptance(0.3, 0.1) == acceptance(0.0, 0.1) == acceptance(0.0, 0.0) == 1.0
    assert acceptance(-0.2, 0.1) == pytest.approx(math.exp(-2))
    assert acceptance(-0.2, 0.0) == acceptance(-1e3, 1e-9) == 0.0


def _walk(reward: float, seed: int = 0) -> Walk:
    problem = tiny_problem()
    census, rng = Census(problem, in_memory(problem, 9)), np.random.default_rng(seed)
    return Walk(census, problem.automaton, rng, (1, 4), reward)


@pytest.mark.parametrize("loss", [0.0, 0.05, 0.1, 0.3])
def test_moves_are_accepted_as_often_as_the_rule_says(loss: float) -> None:
    walk, warm, draws, moved = _walk(0.5), 0.1, 10_000, 0
    for birth in range(draws):
        walk.tokens, walk.reward = (1, 4), 0.5
        walk.choose([Individual(birth, (2, 4), 0.5 - loss)], warm)
        moved += walk.tokens == (2, 4)
        assert walk.reward == (0.5 - loss if walk.tokens == (2, 4) else 0.5)
    chance = math.exp(-loss / warm)
    assert abs(moved / draws - chance) <= 3 * math.sqrt(chance * (1 - chance) / draws)


def test_the_first_proposal_that_is_accepted_is_the_move() -> None:
    walk = _walk(0.5)
    worse, better, best = (Individual(i, (i + 1, 4), r) for i, r in enumerate((0.1, 0.6, 0.9)))
    walk.choose([worse, better, best], 0.0)
    assert (walk.tokens, walk.reward) == (better.tokens, 0.6)


def test_temperature_falls_geometrically() -> None:
    assert temperature(2.0, 0, 10.0, 1) == 2.0
    assert temperature(2.0, 25, 10.0, 1) == pytest.approx(2.0 * 0.5**2.5)
    steps = [temperature(1.0, n, 8.0, 4) for n in range(12)]
    assert steps == pytest.approx([1.0] * 4 + [0.5**0.5] * 4 + [0.5] * 4)


def test_one_outlier_does_not_set_the_temperature() -> None:
    assert interquartile([0.0, 1.0, 2.0, 3.0, 4.0]) == pytest.approx(2.0)
    assert interquartile([0.1, 0.91, 0.92, 0.93, 0.94]) == pytest.approx(0.02)
    assert interquartile([0.7]) == 0.0


def test_at_equilibrium_networks_are_visited_by_the_law_of_boltzmann() -> None:
    """At one temperature a long walk over a whole table visits x in proportion to exp(r(x) / T).

    A proposal is symmetric where all networks have equally many neighbours.
    """
    problem, evaluator = table_problem(small_table(), classes=False)
    every = [a.tokens for a in problem.space.enumerate(problem.task)]
    ledger = Ledger(evaluator, problem, 100)
    census, rng = Census(problem, ledger), np.random.default_rng(0)
    rewards = {one.tokens: one.fitness for one in census.measure(every)}
    walk = Walk(census, problem.automaton, rng, every[0], rewards[every[0]])
    visits = dict.fromkeys(every, 0)
    steps, warm = 12_000, 0.3
    for _ in range(steps):
        (proposal,) = walk.propose(1, warm, repeats=True)
        walk.choose([Individual(0, proposal, rewards[proposal])], warm)
        visits[walk.tokens] += 1
    weights = np.exp(np.array([rewards[t] for t in every]) / warm)
    found = np.array([visits[t] for t in every]) / steps
    assert np.abs(found - weights / weights.sum()).max() < 0.02


def test_known_proposals_cost_nothing(problem: Problem) -> None:
    ledger = formula(problem, 200)
    Annealing().search(problem, ledger, 0)
    assert ledger.distinct == 200


def test_it_walks_by_single_edits(problem: Problem) -> None:
    ledger = formula(problem, 120)
    Annealing.with_options(start=5).search(problem, ledger, 2)
    rows = ledger.rows
    for number in range(5, 120):
        near = min(problem.space.distance(rows[number].tokens, r.tokens) for r in rows[:number])
        assert near == 1


BAD = [
    {"temperature": -1.0},
    {"spread": 0.0},
    {"start": 0},
    {"half_life": 0.0},
    {"plateau": 0},
    {"sampler": "x"},
    {"batch": 0},
]


@pytest.mark.parametrize("options", BAD, ids=str)
def test_bad_values_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        Annealing.with_options(**options)
