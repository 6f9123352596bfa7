from __future__ import annotations

import numpy as np
import pytest

from agents.lengths import end_logits, end_probability
from agents.token_features import token_features
from emnas_gym.problem import Problem
from emnas_gym.space import SearchSpace


def test_end_probability_makes_lengths_uniform(problem: Problem) -> None:
    hazard = end_probability(problem.automaton)
    alive, reached = 1.0, {}
    for placed, chance in enumerate(hazard):
        reached[placed + 1] = alive * chance
        alive *= 1.0 - chance
    for length in range(4, 16):
        assert reached[length] == pytest.approx(1 / 12, rel=1e-3)
    assert reached[2] < 1e-5


def test_end_logits_give_that_probability_under_the_mask(problem: Problem) -> None:
    table = problem.automaton
    logits, hazard = end_logits(table, masked=True), end_probability(table)
    for state in (0, len(table.states) // 2, len(table.states) - 1):
        others = max(int((table.next_state[state] >= 0).sum()), 1)
        for placed in (3, 8, 13):
            odds = np.exp(logits[state, placed])
            assert odds / (odds + others) == pytest.approx(hazard[placed])


def test_end_logits_allow_for_replaced_tokens(problem: Problem) -> None:
    table = problem.automaton
    logits, hazard = end_logits(table, masked=False), end_probability(table)
    tokens = problem.space.num_tokens
    for state in (0, len(table.states) - 1):
        others = int((table.next_state[state] >= 0).sum())
        for placed in (5, 12):
            odds = np.exp(logits[state, placed])
            drawn = odds / (odds + tokens)
            replaced = (1 - drawn) * (1 - others / tokens) / (others + 1)
            assert drawn + replaced == pytest.approx(hazard[placed], rel=1e-6)


def test_features_tell_behaviours_apart(space: SearchSpace, mobile: SearchSpace) -> None:
    for one in (space, mobile):
        features = token_features(one)
        canonical = np.array(one.canonical_token)
        assert features.shape[0] == one.num_tokens + 1
        assert (features == features[canonical]).all(), "equal behaviours look alike"
        assert len(np.unique(features, axis=0)) == len(np.unique(canonical))
        assert features.min() >= 0
        assert features.max() <= 1
        assert not features[0].any()
