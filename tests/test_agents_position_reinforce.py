from __future__ import annotations

import numpy as np
import pytest
import tiny_worlds
from optimum_contract import check_finds_optimum
from table_worlds import small_table

from agents.base import NotLearned, OptionError
from agents.position_reinforce import Adam, MovingAverage, PositionPolicy, PositionReinforce
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem
from emnas_gym.table_env import table_problem
from emnas_gym.testing import tiny_problem


def test_finds_and_prefers_the_best_of_twelve() -> None:  # B3
    options = {"tries": 20, "learning_rate": 0.1, "imitation": 0.3}
    check_finds_optimum(lambda: PositionReinforce.with_options(**options))


def _trained(problem: Problem) -> PositionPolicy:
    policy = PositionPolicy(problem.automaton)
    policy.logits += np.random.default_rng(1).normal(size=policy.logits.shape)
    return policy


def _log_probability(policy: PositionPolicy, tokens: tuple[int, ...]) -> float:
    cursor, total = policy.table.start(), 0.0
    for position, token in enumerate(tokens):
        legal = policy.table.legal(cursor)
        chances = policy.probabilities(position, legal)
        assert chances.sum() == pytest.approx(1.0)
        total += float(np.log(chances[legal == token][0]))
        policy.table.step(cursor, token)
    return total


@pytest.mark.parametrize("on_a_table", [False, True])
def test_gradient_agrees_with_finite_differences(on_a_table: bool) -> None:  # B3
    problem = table_problem(small_table())[0] if on_a_table else tiny_problem()
    policy = _trained(problem)
    tokens, choices = policy.walk(np.random.default_rng(3))
    gradient, step = policy.gradient(tokens, choices), 1e-6
    numeric = np.zeros_like(gradient)
    for at in np.ndindex(gradient.shape):
        policy.logits[at] += step
        above = _log_probability(policy, tokens)
        policy.logits[at] -= 2 * step
        numeric[at] = (above - _log_probability(policy, tokens)) / (2 * step)
        policy.logits[at] += step
    assert np.abs(gradient).max() > 0.1
    np.testing.assert_allclose(gradient, numeric, atol=1e-8)


def test_expected_gradient_of_a_constant_reward_is_zero() -> None:
    """Σ π(tokens) ∇ log π(tokens) = 0 over all twelve networks, whose π sum to 1."""
    problem = tiny_problem()
    policy, total, mass = _trained(problem), 0.0, 0.0
    for network in problem.space.enumerate(problem.task, problem.automaton.budgets):
        cursor, choices = policy.table.start(), []
        for token in network.tokens:
            choices.append(policy.table.legal(cursor))
            policy.table.step(cursor, token)
        chance = np.exp(_log_probability(policy, network.tokens))
        mass += chance
        total = total + chance * policy.gradient(network.tokens, choices)
    assert mass == pytest.approx(1.0)
    assert np.abs(total).max() < 1e-12


def test_draws_follow_the_distribution() -> None:
    problem = tiny_problem()
    policy, rng, count = _trained(problem), np.random.default_rng(0), 4000
    drawn = [policy.walk(rng)[0] for _ in range(count)]
    for tokens in set(drawn):
        chance = np.exp(_log_probability(policy, tokens))
        error = np.sqrt(chance * (1 - chance) / count)
        assert abs(drawn.count(tokens) / count - chance) < 4.5 * error


def test_first_samples_have_about_uniform_length(problem: Problem) -> None:
    policy, rng = PositionPolicy(problem.automaton), np.random.default_rng(0)
    lengths = [len(policy.walk(rng)[0]) for _ in range(400)]
    counts = np.bincount(lengths, minlength=16)[4:]
    expected = 400 / 12
    assert ((counts - expected) ** 2 / expected).sum() < 31.3  # chi square, 11 d. f., p = .001


def test_baseline_by_hand() -> None:
    average = MovingAverage(0.9)
    assert average.update(2.0) == 2.0
    assert average.update(4.0) == pytest.approx((0.9 * 2.0 + 4.0) / 1.9)
    assert average.update(1.0) == pytest.approx((0.81 * 2.0 + 0.9 * 4.0 + 1.0) / 2.71)


def test_first_steps_of_adam_by_hand() -> None:
    adam = Adam((2,), 0.01)
    np.testing.assert_allclose(adam.ascent(np.array([3.0, -0.2])), [0.01, -0.01], rtol=1e-6)
    second = adam.ascent(np.array([1.0, 0.0]))
    mean = (0.9 * 0.1 * 3.0 + 0.1 * 1.0) / (1 - 0.81)
    square = (0.999 * 0.001 * 9.0 + 0.001 * 1.0) / (1 - 0.998001)
    assert second[0] == pytest.approx(0.01 * mean / np.sqrt(square), rel=1e-6)


def test_the_known_form_updates_once_a_network() -> None:
    """Written down by hand: two evaluations, the first without an advantage."""
    problem, evaluator = table_problem(small_table())
    ledger, agent = Ledger(evaluator, problem, 2), PositionReinforce()
    agent.search(problem, ledger, 0)
    first, second = (row.reward for row in ledger.rows)
    sign = np.sign(second - (0.9 * first + second) / 1.9)
    logits = agent.policy_.logits
    for position, token in enumerate(ledger.rows[1].tokens):
        assert np.sign(logits[position, token]) == sign
    assert (logits != 0).sum() == 2 + 3 + 2


def test_equal_rewards_have_no_advantage() -> None:
    average = MovingAverage(0.9)
    assert all(0.7 - average.update(0.7) == pytest.approx(0.0, abs=1e-15) for _ in range(50))


def test_there_is_no_favourite_before_a_search(problem: Problem) -> None:
    with pytest.raises(NotLearned):
        PositionReinforce().favourite(problem)


@pytest.mark.parametrize(
    "options", [{"batch": 0}, {"learning_rate": 0.0}, {"baseline_decay": 1.0}, {"tries": -1}]
)
def test_bad_values_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        PositionReinforce.with_options(**options)


def test_masks_are_obeyed(problem: Problem) -> None:
    ledger = tiny_worlds.formula(problem, 60)
    PositionReinforce().search(problem, ledger, 0)
    assert all(problem.automaton.fits(row.tokens) for row in ledger.rows)
