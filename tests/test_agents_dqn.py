from __future__ import annotations

import numpy as np
import pytest
import tiny_worlds
from optimum_contract import check_finds_optimum

from agents.base import OptionError
from agents.determinism import seeded
from agents.dqn import DQNAgent, TokenDQN, exploration
from emnas_gym.problem import Problem
from emnas_gym.testing import tiny_problem

SMALL = {"envs": 4, "hidden": 16, "width": 4, "warm_up": 16, "minibatch": 16}
FIND = {
    "envs": 4, "hidden": 32, "width": 4, "unplayed": True, "learning_rate": 0.005, "warm_up": 16,
    "every": 1, "updates": 16, "target": 8, "explore": 200, "ranked": 0,
}  # fmt: skip


@pytest.mark.slow
def test_finds_and_prefers_the_best_of_twelve() -> None:
    check_finds_optimum(lambda: DQNAgent.with_options(**FIND))


def test_epsilon_falls_on_a_line() -> None:
    assert exploration(0, 100, 0.1) == 1.0
    assert exploration(50, 100, 0.1) == pytest.approx(0.55)
    assert exploration(100, 100, 0.1) == pytest.approx(0.1)
    assert exploration(10_000, 100, 0.1) == 0.1


def test_first_samples_have_about_uniform_length(problem: Problem) -> None:
    ledger = tiny_worlds.formula(problem, 300)
    DQNAgent.with_options(**SMALL, every=5000).search(problem, ledger, 0)  # nothing is learned
    counts = np.bincount([len(row.tokens) for row in ledger.rows], minlength=16)[4:]
    assert counts.min() > 5, counts  # of 25 expected; uniform tokens would give nearly none
    assert all(problem.automaton.fits(row.tokens) for row in ledger.rows)


def test_a_token_that_was_replaced_is_remembered_as_what_was_placed() -> None:
    """On twelve networks without repeats: what is remembered are networks that were measured."""
    problem = tiny_problem()
    agent, ledger = (
        DQNAgent.with_options(**FIND | {"envs": 1, "updates": 1}),
        tiny_worlds.in_memory(problem, 24),
    )
    agent.search(problem, ledger, 0)
    model = agent.model_
    assert isinstance(model, TokenDQN)
    buffer = model.replay_buffer
    assert buffer is not None
    count, legal = buffer.size(), 0
    rows = iter(ledger.rows)
    begun: list[int] = []
    for i in range(count):
        mask_state = buffer.observations[i, 0]
        action, after = int(buffer.actions[i, 0, 0]), buffer.next_observations[i, 0]
        placed = int(np.count_nonzero(mask_state))
        really = int(after[placed])
        begun.append(really)
        cursor = problem.automaton.start()
        for token in begun[:-1]:
            problem.automaton.step(cursor, token)
        if action in problem.automaton.legal(cursor):
            legal += 1
            assert action == really
        if buffer.dones[i, 0]:
            assert tuple(begun) == next(rows).tokens
            begun = []
    assert legal > 20


def test_a_longer_search_begins_as_a_shorter_one(problem: Problem) -> None:
    histories = []
    for evaluations in (15, 30):
        ledger = tiny_worlds.formula(problem, evaluations)
        DQNAgent.with_options(**SMALL, updates=1, explore=200).search(problem, ledger, 0)
        histories.append([row.tokens for row in ledger.rows])
    assert histories[1][:15] == histories[0]


def test_exploring_draws_every_token_but_none(problem: Problem) -> None:
    agent = DQNAgent.with_options(**SMALL)
    with seeded(0):
        model = agent._make(problem, tiny_worlds.formula(problem, 1), 0)
        assert isinstance(model, TokenDQN)
        drawn = {model._explored(2) for _ in range(6000)}
    assert drawn == set(range(1, 382)), "two layers are too few to end with"


@pytest.mark.parametrize("options", [{"least": 1.5}, {"updates": 0}, {"explore": 0}, {"envs": 0}])
def test_bad_values_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(OptionError):
        DQNAgent.with_options(**options)
