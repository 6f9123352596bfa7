from __future__ import annotations

import numpy as np
import pytest
import tiny_worlds
from optimum_contract import check_finds_optimum

from agents.base import NotLearned, OptionError
from agents.q_learning import METAQNN, Episode, QLearning, QTable, epsilon
from emnas_gym.problem import Problem
from emnas_gym.testing import ScriptedEvaluator, tiny_problem

BEGINNING = {"state": "beginning", "learning_rate": 0.5, "initial": 1.0, "replays": 10}


def test_finds_and_prefers_the_best_of_twelve() -> None:  # B15
    check_finds_optimum(lambda: QLearning.with_options(**BEGINNING, horizon=40))


def test_update_by_hand() -> None:  # B15
    """Two tokens, α = 0.25: the last towards the reward, the first towards the best after it."""
    table, legal = QTable(0.5, 0.25), frozenset([1, 2])
    episode = Episode(((0, 0), (1, 2)), (legal, legal), (2, 1), 0.9)
    table.learn(episode)
    last = 0.75 * 0.5 + 0.25 * 0.9
    assert table.value((1, 2), 1) == pytest.approx(last)
    assert table.value((1, 2), 2) == 0.5
    assert table.value((0, 0), 2) == pytest.approx(0.75 * 0.5 + 0.25 * max(last, 0.5))
    table.learn(Episode(episode.states, episode.legal, episode.tokens, -1.0))
    assert table.value((1, 2), 1) == pytest.approx(0.75 * last - 0.25)
    first = 0.75 * (0.75 * 0.5 + 0.25 * last) + 0.25 * 0.5  # the best of what follows is untried
    assert table.value((0, 0), 2) == pytest.approx(first)


def test_values_become_those_of_value_iteration() -> None:  # B15
    """Where the state is all that was placed, Q is the best reward that can still be had."""
    problem = tiny_problem()
    scripted, agent = ScriptedEvaluator(problem), QLearning.with_options(**BEGINNING, least=1.0)
    agent.search(problem, tiny_worlds.in_memory(problem, 400), 0)
    networks = list(problem.space.enumerate(problem.task, problem.automaton.budgets))
    rewards = [problem.reward(result)[0] for result in scripted.evaluate(networks)]  # type: ignore[arg-type]
    checked = 0
    for state, values in agent.table_.values.items():
        for token, value in values.items():
            begun = (*state, token)
            reachable = [
                r for n, r in zip(networks, rewards, strict=True) if n.tokens[: len(begun)] == begun
            ]
            assert value == pytest.approx(max(reachable), abs=1e-3)
            checked += 1
    assert checked == 3 + 3 * 4 + 9


def test_epsilon_follows_the_table_of_metaqnn() -> None:  # B15
    """1,500 networks of 2,700 at ε = 1, 100 each at 0.9 … 0.7, 150 each at 0.6 … 0.1."""
    assert sum(count for _, count in METAQNN) == 2700
    seen = [epsilon(i / 2700, 0.1) for i in range(2700)]
    assert seen[:1500] == [1.0] * 1500
    assert seen[1500:1800] == [0.9] * 100 + [0.8] * 100 + [0.7] * 100
    assert [seen[1800 + 150 * i] for i in range(6)] == [0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert seen[-1] == 0.1
    assert epsilon(1.0, 0.05) == 0.05
    assert epsilon(0.9, 0.35) == 0.35
    assert sorted(seen, reverse=True) == seen


def test_greedy_breaks_ties_among_the_best_alone() -> None:
    table = QTable(0.5, 0.1)
    table.values[(0, 0)] = {1: 0.2, 3: 0.7, 4: 0.7}
    assert table.greedy((0, 0), frozenset([1, 2, 3, 4])) == [3, 4]
    assert table.greedy((0, 0), frozenset([1, 2])) == [2]
    assert table.best((9, 9), frozenset([7])) == 0.5


@pytest.mark.parametrize("replays", [0, 4])
def test_what_was_measured_is_replayed(replays: int) -> None:
    """One network: with α its values move as often as it is played and replayed."""
    problem = tiny_problem()
    agent = QLearning.with_options(replays=replays, learning_rate=0.5, initial=0.0)
    ledger = tiny_worlds.in_memory(problem, 1)
    agent.search(problem, ledger, 0)
    (row,) = ledger.rows
    last = (len(row.tokens) - 1, row.tokens[-2])
    expected = row.reward * (1 - 0.5 ** (1 + replays))
    assert agent.table_.value(last, row.tokens[-1]) == pytest.approx(expected)


@pytest.mark.parametrize("state", ["last-token", "automaton"])
def test_masks_are_obeyed_and_it_learns(problem: Problem, state: str) -> None:
    ledger = tiny_worlds.formula(problem, 200)
    options = {"learning_rate": 0.2, "horizon": 160, "replays": 4, "initial": 0.3}
    QLearning.with_options(**options, state=state).search(problem, ledger, 0)
    rewards = [row.reward for row in ledger.rows]
    assert all(problem.automaton.fits(row.tokens) for row in ledger.rows)
    assert np.mean(rewards[-40:]) > np.mean(rewards[:100]) + 0.03


def test_a_longer_search_begins_as_a_shorter_one(problem: Problem) -> None:
    histories = []
    for evaluations in (20, 40):
        ledger = tiny_worlds.formula(problem, evaluations)
        QLearning.with_options(replays=2, horizon=30).search(problem, ledger, 0)
        histories.append([row.tokens for row in ledger.rows])
    assert histories[1][:20] == histories[0]


def test_there_is_no_favourite_before_a_search(problem: Problem) -> None:
    with pytest.raises(NotLearned):
        QLearning().favourite(problem)


@pytest.mark.parametrize(
    "options", [{"learning_rate": 0.0}, {"horizon": 0}, {"least": 1.5}, {"state": "none"}]
)
def test_bad_values_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        QLearning.with_options(**options)
