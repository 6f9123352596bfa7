from __future__ import annotations

import numpy as np

from agents.unseen import Unseen
from emnas_gym.problem import Problem
from emnas_gym.testing import tiny_problem


def _draw(problem: Problem, unseen: Unseen, rng: np.random.Generator) -> tuple[int, ...]:
    cursor = problem.automaton.start()
    while not cursor.done:
        mask = unseen.open(cursor.tokens, problem.automaton.mask(cursor))
        problem.automaton.step(cursor, int(rng.choice(np.flatnonzero(mask))))
    unseen.add(cursor.tokens)
    return tuple(cursor.tokens)


def test_every_network_comes_once_and_then_all_again() -> None:
    problem, rng = tiny_problem(), np.random.default_rng(0)
    unseen = Unseen(problem.automaton)
    for _ in range(3):
        assert len({_draw(problem, unseen, rng) for _ in range(12)}) == 12


def test_only_what_leads_to_known_networks_is_taken_out() -> None:
    problem, rng = tiny_problem(), np.random.default_rng(1)
    table, unseen, played = problem.automaton, Unseen(problem.automaton), set()
    networks = [a.tokens for a in problem.space.enumerate(problem.task, table.budgets)]
    for _ in range(11):
        played.add(_draw(problem, unseen, rng))
        left = set(networks) - played
        for length in (0, 1, 2):
            for begun in {n[:length] for n in networks if len(n) > length}:
                cursor = table.start()
                for token in begun:
                    table.step(cursor, token)
                mask = table.mask(cursor)
                expected = {n[length] for n in left if n[:length] == begun}
                found = set(np.flatnonzero(unseen.open(begun, mask)).tolist())
                assert found == (expected or set(np.flatnonzero(mask).tolist()))


def test_what_is_known_can_be_added_again() -> None:
    problem = tiny_problem()
    unseen = Unseen(problem.automaton)
    networks = [a.tokens for a in problem.space.enumerate(problem.task, problem.automaton.budgets)]
    for tokens in networks[:5] + networks[:5]:
        unseen.add(tokens)
    rng = np.random.default_rng(0)
    assert {_draw(problem, unseen, rng) for _ in range(7)} == set(networks[5:])
