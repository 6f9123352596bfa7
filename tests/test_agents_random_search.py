from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_worlds

from agents.base import OptionError
from agents.random_search import RandomConfig, RandomSearch
from emnas_gym.architecture import Architecture
from emnas_gym.errors import UnknownName
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.testing import ScriptedEvaluator


def _reward_distribution(problem: Problem, sampler: str) -> tuple[np.ndarray, np.ndarray]:
    """Ascending rewards of all networks, and the probability of each."""
    table = problem.automaton
    if sampler == "walk":
        chances = tiny_worlds.probabilities(table)
    else:
        lengths = table.feasible_lengths
        chances = {
            tokens: chance / len(lengths)
            for length in lengths
            for tokens, chance in tiny_worlds.probabilities(table, length).items()
        }
    networks = [Architecture(problem.space, tokens) for tokens in chances]
    rewards = []
    for result in ScriptedEvaluator(problem).evaluate(networks):
        assert isinstance(result, Measurement)
        rewards.append(problem.reward(result)[0])
    order = np.argsort(rewards)
    return np.array(rewards)[order], np.array(list(chances.values()))[order]


@pytest.mark.parametrize("sampler", ["uniform-length", "walk"])
def test_best_of_n_equals_the_order_statistic(tmp_path: Path, sampler: str) -> None:  # B1
    problem, n, runs = tiny_worlds.dozen(tmp_path), 4, 600
    rewards, chances = _reward_distribution(problem, sampler)
    assert chances.sum() == pytest.approx(1.0)
    below = np.concatenate([[0.0], np.cumsum(chances)]) ** n
    of_the_best = np.diff(below)  # P(best of n = r) = F(r)^n − F(r−)^n
    expected = of_the_best @ rewards
    deviation = np.sqrt(of_the_best @ (rewards - expected) ** 2)
    found = []
    for seed in range(runs):
        ledger = tiny_worlds.in_memory(problem, n)
        RandomSearch(RandomConfig(sampler=sampler)).search(problem, ledger, seed)
        found.append(ledger.best.reward)
        ledger.close()
    assert abs(np.mean(found) - expected) < 3 * deviation / np.sqrt(runs)


def test_lengths_are_uniform_by_default(problem: Problem) -> None:
    ledger = tiny_worlds.formula(problem, 600)
    RandomSearch().search(problem, ledger, 0)
    counts = np.bincount([len(row.tokens) for row in ledger.rows], minlength=16)[4:]
    assert ((counts - 50) ** 2 / 50).sum() < 31.3  # chi square, 11 degrees of freedom, p = .001


def test_a_walk_makes_long_networks(problem: Problem) -> None:
    ledger = tiny_worlds.formula(problem, 200)
    RandomSearch.with_options(sampler="walk").search(problem, ledger, 0)
    assert np.mean([len(row.tokens) for row in ledger.rows]) > 12


@pytest.mark.parametrize(
    "options", [{"sampler": "uniform"}, {"batch": 0}, {"batch": 1.5}, {"batch": True}]
)
def test_bad_values_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        RandomSearch.with_options(**options)


def test_an_unknown_option_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="sampler"):
        RandomSearch.with_options(samplr="walk")
    with pytest.raises(UnknownName):
        RandomSearch.with_options(logdir="x")
