from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from optimum_contract import check_finds_optimum
from table_worlds import small_table
from tiny_worlds import brute_force, formula, in_memory

from agents.base import OptionError
from agents.local_search import LocalSearch
from emnas_gym.history import Row
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem
from emnas_gym.space import sample_tokens
from emnas_gym.table_env import table_problem
from emnas_gym.testing import check_agent
from emnas_gym.variation import edits_of, neighbours


def test_finds_the_optimum() -> None:
    check_finds_optimum(LocalSearch)


@pytest.mark.parametrize("options", [{"improvement": "best"}, {"batch": 5, "repeats": True}])
def test_the_contract_of_its_options(options: dict[str, object]) -> None:
    check_agent(lambda: LocalSearch.with_options(**options), evaluations=80)


def _follow(problem: Problem, rows: list[Row], best: bool) -> tuple[int, int]:
    """Replays a history of measured neighbours by the rule; moves and restarts in it."""
    table, position, moves, restarts = problem.automaton, 0, 0, 0
    while position < len(rows):
        here, position, restarts = rows[position], position + 1, restarts + 1
        while True:
            expected = {
                problem.space.canonical_tokens(t)
                for t in neighbours(table, here.tokens, edits_of(table))
            }
            around: list[Row] = []
            better = None
            while len(around) < len(expected) and position < len(rows):
                around.append(rows[position])
                position += 1
                higher = around[-1].reward > (here if better is None else better).reward
                better = around[-1] if higher else better
                if better is not None and not best:
                    break
            asked = [row.canonical for row in around]
            assert len(set(asked)) == len(asked), "each neighbour once"
            assert set(asked) <= expected
            if better is None or position >= len(rows):
                break
            here, moves = better, moves + 1
    return moves, restarts


@pytest.mark.parametrize("improvement", ["first", "best"])
def test_it_climbs_by_its_rule(improvement: str) -> None:
    """Every evaluation is a neighbour of where it stands, until none is better."""
    problem, evaluator = table_problem(small_table(), classes=False)
    ledger = Ledger(evaluator, problem, 200)
    options = {"improvement": improvement, "repeats": True}
    LocalSearch.with_options(**options).search(problem, ledger, 4)
    moves, restarts = _follow(problem, ledger.rows, improvement == "best")
    assert moves > 10
    assert restarts > 5


def test_known_neighbours_cost_nothing(problem: Problem) -> None:
    ledger = formula(problem, 200)
    LocalSearch().search(problem, ledger, 0)
    assert ledger.distinct == 200


def test_best_improvement_finds_the_top_of_a_smooth_world() -> None:
    problem = Problem.make(min_layers=4, max_layers=4)
    ledger = formula(problem, 3000)
    LocalSearch.with_options(improvement="best").search(problem, ledger, 0)
    best = problem.space.architecture(ledger.best.tokens)
    assert all(layer.kernel == 3 and layer.activation == "relu" for layer in best.layers[:-1])


def test_an_exhausted_space_does_not_hang() -> None:
    problem, _ = table_problem(small_table(incomplete=True))
    ledger = in_memory(problem, 70)
    LocalSearch().search(problem, ledger, 0)
    assert ledger.count == 70
    assert ledger.best.reward == brute_force(problem)[1]


@pytest.mark.parametrize("options", [{"improvement": "x"}, {"sampler": "x"}, {"batch": 0}])
def test_bad_values_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        LocalSearch.with_options(**options)


# ----------------------------------------------------------------------------- neighbourhoods


def test_neighbours_of_a_chain_are_all_at_distance_one(tiny_problem: Problem) -> None:  # C10
    """Against the definition, over the enumerated space."""
    problem = replace(tiny_problem, min_layers=2, max_layers=5)
    space, table, rng = problem.space, problem.automaton, np.random.default_rng(0)
    every = [a.tokens for a in space.enumerate(problem.task, problem.automaton.budgets)]
    canonical = {space.canonical_tokens(tokens) for tokens in every}
    plain = sorted(set(every) & canonical)
    for i in rng.choice(len(plain), 40, replace=False):
        parent = plain[int(i)]
        expected = {k for k in canonical if space.distance(parent, k) == 1}
        found = [space.canonical_tokens(n) for n in neighbours(table, parent, edits_of(table))]
        assert len(set(found)) == len(found), "each once"
        assert set(found) == expected


@pytest.mark.parametrize("classes", [False, True])
def test_neighbours_in_a_table_differ_at_one_position(classes: bool) -> None:  # C10
    problem, _ = table_problem(small_table(incomplete=True), classes=classes)
    space, table = problem.space, problem.automaton
    every = [a.tokens for a in space.enumerate(problem.task)]
    for parent in every:
        expected = {space.canonical_tokens(t) for t in every if space.distance(parent, t) == 1}
        found = [space.canonical_tokens(n) for n in neighbours(table, parent)]
        assert len(set(found)) == len(found), "each once"
        assert set(found) == expected


def test_shuffled_neighbours_are_the_same_ones(problem: Problem) -> None:
    table, rng = problem.automaton, np.random.default_rng(0)
    parent = sample_tokens(problem.automaton, rng)
    ordered = list(neighbours(table, parent, edits_of(table)))
    shuffled = list(neighbours(table, parent, edits_of(table), rng))
    assert shuffled != ordered
    keys = [{problem.space.canonical_tokens(n) for n in one} for one in (ordered, shuffled)]
    assert keys[0] == keys[1]
    assert len(shuffled) == len(ordered)


def test_every_neighbour_comes_first_equally_often() -> None:
    problem, _ = table_problem(small_table(), classes=False)
    table, rng = problem.automaton, np.random.default_rng(0)
    parent = next(iter(problem.space.enumerate(problem.task))).tokens
    every, draws = list(neighbours(table, parent)), 3000
    first = [next(neighbours(table, parent, rng=rng)) for _ in range(draws)]
    for one in every:
        share = 1 / len(every)
        error = np.sqrt(share * (1 - share) / draws)
        assert abs(first.count(one) / draws - share) < 3 * error
