from __future__ import annotations

import numpy as np
import pytest
from optimum_contract import check_finds_optimum
from scipy.stats import kstest
from table_worlds import small_table
from tiny_worlds import formula

from agents.base import OptionError
from agents.evolutionary.individuals import Individual
from agents.evolutionary.objectives import Objectives
from agents.munas import MuNAS, bounds_of, costs_of, random_weights, read_bounds, scalarised
from emnas_gym.errors import EvaluationError
from emnas_gym.ledger import Ledger
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.table_env import table_problem
from emnas_gym.testing import tiny_problem

SMALL = {"population": 8, "tournament": 3}


def test_finds_the_optimum() -> None:
    check_finds_optimum(lambda: MuNAS.with_options(**SMALL))


def test_weights_are_uniform_and_apart() -> None:  # C13
    rng = np.random.default_rng(0)
    drawn = np.array([random_weights(rng, 3) for _ in range(4000)])
    assert (drawn > 0).all()
    for column in drawn.T:
        assert kstest(column, "uniform").pvalue > 0.01
    assert np.abs(np.corrcoef(drawn.T) - np.eye(3)).max() < 3 / np.sqrt(4000)


def test_the_score_is_the_worst_weighted_share() -> None:
    shares = np.array([[0.5, 2.0], [1.0, 1.0], [50.0, 0.1], [np.inf, np.inf]])
    weights = np.array([0.5, 0.25])
    assert scalarised(shares, weights) == pytest.approx([-8.0, -4.0, -20.0, -40.0])


def test_the_share_of_tournaments_of_two_by_its_integral() -> None:
    """Costs (1, 2) beat (2, 1) where 2/λ₂ < 2/λ₁, in half of all draws; (1, 3) in a third.

    max(1/λ₁, 3/λ₂) < max(2/λ₁, 1/λ₂) needs 3/λ₂ < 2/λ₁, that is λ₁ < 2 λ₂ / 3: of the unit square
    a third.
    """
    rng, draws = np.random.default_rng(1), 20_000
    for shares, chance in (([[1.0, 2.0], [2.0, 1.0]], 1 / 2), ([[1.0, 3.0], [2.0, 1.0]], 1 / 3)):
        first = [
            int(np.argmax(scalarised(np.array(shares), random_weights(rng, 2)))) == 0
            for _ in range(draws)
        ]
        assert abs(np.mean(first) - chance) < 3 * np.sqrt(chance * (1 - chance) / draws)


def test_costs_and_bounds() -> None:
    problem = Problem.make(tiny_problem().space, budgets={"latency_ms": 4.0})
    objectives = Objectives(problem, ("accuracy", "latency_ms", "macs"), (1.0, -1.0, -1.0))
    results = [
        Measurement.of("predicted", accuracy=0.9, latency_ms=2.0, macs=100),
        Measurement.of("predicted", accuracy=0.7, latency_ms=8.0, macs=300),
        EvaluationError("no"),
    ]
    alive = [Individual(i, (), 0.0, result) for i, result in enumerate(results)]
    costs = costs_of(alive, objectives)
    assert costs[:2] == pytest.approx(np.array([[0.1, 2.0, 100.0], [0.3, 8.0, 300.0]]))
    assert np.isinf(costs[2]).all()
    assert bounds_of(objectives, {"macs": 50.0}, costs) == pytest.approx([0.2, 4.0, 50.0])
    assert bounds_of(objectives, {}, costs[2:]).tolist() == [1.0, 4.0, 1.0], "nothing is known"


def test_the_oldest_dies(problem: Problem) -> None:  # C7
    ledger = formula(problem, 150)
    MuNAS.with_options(population=20, tournament=5).search(problem, ledger, 0)
    for number in range(20, 150):
        parents = ledger.rows[number - 20 : number]
        child = ledger.rows[number].tokens
        assert min(problem.space.distance(child, one.tokens) for one in parents) == 1


def test_its_front_is_the_true_front() -> None:  # C13, E7
    problem, evaluator = table_problem(small_table(), device="board")
    every = {a.canonical: a for a in problem.space.enumerate(problem.task)}
    points = {}
    for key, result in zip(every, evaluator.evaluate(list(every.values())), strict=True):
        assert isinstance(result, Measurement)
        points[key] = problem.reward.vector(result)
    true = {
        key
        for key, point in points.items()
        if not any((o >= point).all() and (o > point).any() for o in points.values())
    }
    for seed in range(5):
        agent, ledger = MuNAS.with_options(**SMALL), Ledger(evaluator, problem, 60)
        agent.search(problem, ledger, seed)
        assert isinstance(agent, MuNAS)
        assert {row.canonical for row in agent.front_} == true


@pytest.mark.parametrize("text", ["error", "error=x", "error=0", "error=nan", "macs=inf"])
def test_bad_bounds_are_refused(text: str) -> None:
    with pytest.raises(OptionError, match="bounds"):
        MuNAS.with_options(bounds=text)


def test_bounds_need_an_objective() -> None:
    problem = tiny_problem()
    assert read_bounds("error=0.1, latency_ms=3") == {"error": 0.1, "latency_ms": 3.0}
    with pytest.raises(OptionError, match="there are error, latency_ms"):
        MuNAS.with_options(bounds="accuracy=0.9").search(problem, formula(problem, 9), 0)


BAD = [{"population": 1}, {"tournament": 0}, {"sampler": "x"}, {"batch": 0}]


@pytest.mark.parametrize("options", BAD, ids=str)
def test_bad_values_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        MuNAS.with_options(**options)
