"""Wrappers: the mask beside the observation, and the reward as a vector."""

from __future__ import annotations

import warnings

import gymnasium as gym
import numpy as np
import pytest
from conftest import BUDGETS, TINY, ByTokens
from gymnasium.utils.env_checker import check_env

from emnas_gym.architecture import Architecture
from emnas_gym.env import ON_INVALID, EmNASEnv
from emnas_gym.errors import EvaluationError
from emnas_gym.evaluator import Result
from emnas_gym.problem import latency_scale
from emnas_gym.wrappers import DictObservation, VectorReward


def _env(**keywords: object) -> EmNASEnv:
    keywords = {"space": TINY, "budgets": BUDGETS, "evaluator": ByTokens()} | keywords
    return EmNASEnv(**keywords)  # type: ignore[arg-type]


@pytest.mark.parametrize("on_invalid", ON_INVALID)
def test_the_mask_stands_beside_the_observation(on_invalid: str) -> None:
    env, bare = DictObservation(_env(on_invalid=on_invalid)), _env(on_invalid=on_invalid)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "(?s).*is different from the unwrapped version.*")
        check_env(env, skip_render_check=True)
    seen, info = env.reset(seed=3)
    expected, _ = bare.reset(seed=3)
    rng = np.random.default_rng(0)
    for _ in range(60):
        assert env.observation_space.contains(seen)
        assert np.array_equal(seen["observation"], expected)
        assert np.array_equal(seen["action_mask"], info["action_mask"])
        assert np.array_equal(seen["action_mask"], env.action_masks())
        action = rng.integers(10)
        seen, *rest = env.step(action)
        expected, *expected_rest = bare.step(action)
        assert rest[:3] == expected_rest[:3]
        info = rest[3]
        if rest[1] or rest[2]:
            seen, info = env.reset()
            expected, _ = bare.reset()


def test_rewards_as_vectors() -> None:  # E7
    env = VectorReward(_env())
    assert env.reward_space.shape == (2,)
    _, info = env.reset(seed=0)
    rng, over = np.random.default_rng(0), False
    while not over:
        action = rng.choice(np.flatnonzero(info["action_mask"]))
        _, vector, over, _, info = env.step(action)
        assert env.reward_space.contains(vector)
        if not over:
            assert not vector.any()
            assert info["reward"] == 0
    measured = info["measurement"]
    assert np.allclose(vector, [measured["accuracy"], -measured["latency_ms"]])
    reward = env.unwrapped.problem.reward  # type: ignore[attr-defined]
    assert (reward.name, reward.exponent) == ("weighted_product", -0.07)
    scalar = measured["accuracy"] * (measured["latency_ms"] / reward.target_ms) ** -0.07
    assert info["reward"] == pytest.approx(scalar)
    vector[:] = 7
    assert not np.allclose(info["reward_vector"], 7), "what was returned is a copy"


class Failing(ByTokens):
    """A board that measures nothing."""

    def measure(self, architecture: Architecture) -> Result:
        return EvaluationError("gone")


def test_nonsense_never_undercuts_a_network() -> None:
    """An illegal end, and a failed measurement, are dominated by what networks get."""
    illegal = VectorReward(_env(on_invalid="end"))
    illegal.reset(seed=0)
    _, vector, terminated, _, info = illegal.step(0)
    assert terminated
    problem = illegal.unwrapped.problem  # type: ignore[attr-defined]
    cap = latency_scale(problem.task, problem.device).cap_ms
    assert np.allclose(vector, [0.0, -cap])
    assert info["reward"] == problem.reward.illegal
    failing = VectorReward(_env(evaluator=Failing()))
    failing.reset(seed=0)
    assert not failing.step(1)[1].any()
    _, vector, terminated, _, _ = failing.step(9)
    assert terminated
    assert np.allclose(vector, [0.0, -cap])


def test_an_episode_cut_short_gives_nothing() -> None:
    env = VectorReward(_env(on_invalid="penalise"))
    env.reset(seed=0)
    truncated = False
    while not truncated:
        _, vector, _, truncated, info = env.step(0)
        assert not vector.any()
        assert info["reward"] < 0


def test_one_objective_is_a_vector_of_one() -> None:
    env = VectorReward(_env(reward="constrained", evaluator=["analytic", ByTokens()]))
    assert env.reward_space.shape == (1,)
    env.reset(seed=0)
    env.step(1)
    assert env.step(9)[1].shape == (1,)


def test_wrappers_know_their_environment() -> None:
    with pytest.raises(TypeError, match="for EmNAS environments, not CartPoleEnv"):
        DictObservation(gym.make("CartPole-v1"))
    with pytest.raises(TypeError, match="for EmNAS environments"):
        VectorReward(gym.make("CartPole-v1"))
    both = VectorReward(DictObservation(gym.wrappers.TimeLimit(_env(), 50)))
    seen, _ = both.reset(seed=0)
    assert set(seen) == {"observation", "action_mask"}
