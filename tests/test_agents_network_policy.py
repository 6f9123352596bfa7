from __future__ import annotations

import numpy as np
import pytest
import tiny_worlds
from data_files import needs
from optimum_contract import check_finds_optimum
from table_worlds import small_table

from agents.base import NotLearned, OptionError
from agents.network_features import NetworkFeatures
from agents.network_policy import (
    NetworkPolicy,
    gradient,
    objective,
    probabilities,
    rank_weights,
    without_replacement,
)
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem
from emnas_gym.table_env import table_problem
from emnas_gym.testing import tiny_problem

SMALL = {"first": 4, "batch": 2}


def test_finds_and_prefers_the_best_of_twelve() -> None:  # B3, B25
    check_finds_optimum(lambda: NetworkPolicy.with_options(**SMALL))


def test_finds_the_best_of_twelve_in_a_pool_that_is_drawn() -> None:
    check_finds_optimum(lambda: NetworkPolicy.with_options(**SMALL, pool=0, drawn=30))


# --------------------------------------------------------------------------------- the gradient


def _case() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=5), rng.normal(size=(9, 5)), rank_weights(rng.normal(size=9), 4.0)


def test_gradient_agrees_with_finite_differences() -> None:  # B3
    theta, vectors, weights = _case()
    found, step = gradient(theta, vectors, weights, 0.1), 1e-6
    for i, direction in enumerate(np.eye(5) * step):
        above = objective(theta + direction, vectors, weights, 0.1)
        below = objective(theta - direction, vectors, weights, 0.1)
        assert (above - below) / (2 * step) == pytest.approx(found[i], abs=1e-8)


def test_gradient_is_reinforce_with_the_advantage_of_the_weight() -> None:  # B3
    """Σ π(x) A(x) ∇ log π(x) with A = w / π − 1, network by network."""
    theta, vectors, weights = _case()
    chances = probabilities(vectors @ theta)
    expected = np.zeros(5)
    for chance, weight, vector in zip(chances, weights, vectors, strict=True):
        expected += chance * (weight / chance - 1.0) * (vector - chances @ vectors)
    np.testing.assert_allclose(gradient(theta, vectors, weights, 0.0), expected, atol=1e-12)


def test_weights_by_hand() -> None:
    weights = rank_weights(np.array([0.1, 0.9, 0.5]), 2.0)
    np.testing.assert_allclose(weights, np.exp([-2.0, 0.0, -1.0]) / np.exp([-2.0, 0, -1]).sum())
    ties = rank_weights(np.array([0.3, 0.3, 0.1]), 1.0)
    assert ties[0] == ties[1] > ties[2]
    np.testing.assert_allclose(rank_weights(np.full(4, 0.2), 8.0), 0.25)
    assert rank_weights(np.array([0.7]), 8.0).tolist() == [1.0]


def test_drawing_without_replacement_follows_the_policy() -> None:
    """First and second of three, against their closed forms, within 4.5 standard errors."""
    scores, rng, count = np.array([0.0, 1.0, 2.0]), np.random.default_rng(0), 20_000
    chances = probabilities(scores)
    drawn = np.array([without_replacement(scores, 2, rng) for _ in range(count)])
    for i in range(3):
        assert abs((drawn[:, 0] == i).mean() - chances[i]) < 4.5 * 0.5 / count**0.5
    expected = chances[2] * chances[1] / (1 - chances[2])
    found = ((drawn[:, 0] == 2) & (drawn[:, 1] == 1)).mean()
    assert abs(found - expected) < 4.5 * 0.5 / count**0.5


# --------------------------------------------------------------------------------- the features


def test_features_of_a_cell_are_its_live_edges_and_paths() -> None:
    needs("nb201/nb201_accuracy.npz")
    from predictors.cells.topology import PATHS, active
    from predictors.table_convert import nb201_table

    problem, _ = table_problem(nb201_table("cifar10", ()))
    features = NetworkFeatures(problem.automaton)
    assert sorted(features.paths) == sorted(PATHS)
    words = [problem.space.describe(t) for t in np.flatnonzero(features.cutting)]
    assert len(words) == 6
    assert all(word.endswith("= none") for word in words)
    cells = np.random.default_rng(0).integers(0, 5, (50, 6)).astype(np.int8)
    tokens = [tuple(int(o) + 1 + 5 * p for p, o in enumerate(cell)) for cell in cells]
    placed = features.of(tokens)[:, :30].reshape(50, 6, 5)
    live = active(cells)
    assert np.array_equal(placed.sum(axis=2) > 0, live)
    assert (placed.argmax(axis=2)[live] == cells[live]).all()


def test_a_table_without_a_graph_is_a_list_of_positions() -> None:
    problem, _ = table_problem(small_table())
    features = NetworkFeatures(problem.automaton)
    assert features.paths == ()
    assert not features.cutting.any()
    network = next(iter(problem.space.enumerate(problem.task))).tokens
    (row,) = features.of([network])
    assert np.flatnonzero(row).tolist() == [token - 1 for token in network]


def test_features_of_chains_tell_all_networks_apart() -> None:
    problem = tiny_problem()
    features = NetworkFeatures(problem.automaton)
    networks, vectors = features.whole_space or ([], np.zeros((0, 0)))
    assert len(networks) == 12
    assert len(np.unique(vectors, axis=0)) == 12


# ------------------------------------------------------------------------------------ around it


def test_nothing_is_measured_twice(problem: Problem) -> None:
    ledger = tiny_worlds.formula(problem, 60)
    NetworkPolicy.with_options(drawn=80).search(problem, ledger, 0)
    assert ledger.distinct == 60
    assert all(problem.automaton.fits(row.tokens) for row in ledger.rows)


def test_a_space_that_is_used_up_goes_on_with_repeats() -> None:
    problem, evaluator = table_problem(small_table())
    ledger = Ledger(evaluator, problem, 40)
    NetworkPolicy().search(problem, ledger, 0)
    assert ledger.count == 40


def test_learns(problem: Problem) -> None:
    ledger = tiny_worlds.formula(problem, 150)
    NetworkPolicy.with_options(drawn=100).search(problem, ledger, 0)
    rewards = [row.reward for row in ledger.rows]
    assert np.mean(rewards[-50:]) > np.mean(rewards[:10]) + 0.1


def test_there_is_no_favourite_before_a_search(problem: Problem) -> None:
    with pytest.raises(NotLearned):
        NetworkPolicy().favourite(problem)


@pytest.mark.parametrize(
    "options", [{"first": 0}, {"sharpness": -1.0}, {"greed": 0.0}, {"decay": 1.0}, {"drawn": 0}]
)
def test_bad_values_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        NetworkPolicy.with_options(**options)
