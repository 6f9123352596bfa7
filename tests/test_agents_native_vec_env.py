"""The native environment under Stable-Baselines3: equal trajectories, and algorithms that learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import BUDGETS, TINY, ByTokens
from gymnasium import spaces
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv, VecMonitor

from agents.native_vec_env import SB3VecEnv
from emnas_gym.env import EmNASEnv
from emnas_gym.errors import EmNASError, UnknownName
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem
from emnas_gym.vector_env import EmNASVectorEnv

COUNT = 6


def native(count: int = COUNT, **keywords: Any) -> SB3VecEnv:
    keywords = {"budgets": BUDGETS, "evaluator": ByTokens(), "space": TINY} | keywords
    return SB3VecEnv(EmNASVectorEnv(count, **{"autoreset_mode": "same_step"} | keywords))


def assert_equal(one: Any, other: Any) -> None:
    assert one.keys() == other.keys()
    for key, value in one.items():
        if isinstance(value, dict):
            assert_equal(value, other[key])
        else:
            assert np.array_equal(value, other[key]), key
            assert type(value) is type(other[key]), key


@pytest.mark.parametrize("on_invalid", ["resample", "end", "penalise"])
def test_it_passes_through_the_trajectories_of_dummy_vec_env(on_invalid: str) -> None:  # B25, B26
    keywords = {"budgets": BUDGETS, "evaluator": ByTokens(), "space": TINY}
    dummy = DummyVecEnv([lambda: EmNASEnv(**keywords, on_invalid=on_invalid)] * COUNT)
    envs, rng = native(on_invalid=on_invalid), np.random.default_rng(0)
    assert envs.observation_space == dummy.observation_space
    assert envs.action_space == dummy.action_space
    for each in (dummy, envs):
        each.seed(5)
    assert np.array_equal(dummy.reset(), envs.reset())
    ended = 0
    for _ in range(60):
        assert np.array_equal(np.stack(dummy.env_method("action_masks")), envs.action_masks())
        actions = envs.envs.sample(rng)
        actions[rng.random(COUNT) < 0.1] = 0
        one, other = dummy.step(actions), envs.step(actions)
        for wanted, found in zip(one[:3], other[:3], strict=True):
            assert np.array_equal(wanted, found)
            assert wanted.dtype == found.dtype
        for i in np.flatnonzero(one[2]):
            assert_equal(one[3][i], other[3][i])
            ended += 1
        assert all(not info for info, done in zip(other[3], other[2], strict=True) if not done)
    assert ended > 20


@pytest.mark.parametrize("algorithm", [PPO, MaskablePPO], ids=lambda a: a.__name__)
def test_algorithms_learn_on_it(algorithm: Any) -> None:  # B26, D6
    envs = VecMonitor(native(64))
    model = algorithm(
        "MlpPolicy", envs, n_steps=16, batch_size=256, n_epochs=2, gamma=1.0, seed=0, device="cpu"
    )
    model.learn(10_000)
    assert model.num_timesteps >= 10_000
    assert len(model.ep_info_buffer) == 100
    rewards = [episode["r"] for episode in model.ep_info_buffer]
    assert 0 < np.mean(rewards) <= envs.venv.envs.problem.reward.range[1]


def test_a_ledger_truncates_on_it(tiny_problem: Problem) -> None:  # E18
    ledger = Ledger(ByTokens(), tiny_problem, 10)
    envs, rng = SB3VecEnv(ledger.vec_env(4)), np.random.default_rng(0)
    envs.reset()
    while not ledger.spent:
        *_, dones, infos = envs.step(envs.envs.sample(rng))
    assert dones.any()
    *_, dones, infos = envs.step(envs.envs.sample(rng))
    assert dones.all()
    assert all(info["TimeLimit.truncated"] and info["budget_spent"] for info in infos)
    assert ledger.count == 10


def test_infos_are_made_when_they_are_asked_for() -> None:
    envs, rng = native(3), np.random.default_rng(0)
    envs.reset()
    for _ in range(20):
        *_, dones, infos = envs.step(envs.envs.sample(rng))
        if dones.any():
            break
    info = infos[int(np.flatnonzero(dones)[0])]
    assert dict.__len__(info) == 2
    assert info.get("episode") is None
    assert dict.__len__(info) == 2, "nobody has asked yet"
    assert info["measurement"]["accuracy"] <= 1
    assert isinstance(info["token"], int)
    assert set(info) == set(info.keys()) == set(info.copy()) > {"architecture", "feasible"}
    assert "episode" not in info
    with pytest.raises(KeyError, match="episode"):
        info["episode"]


def test_what_it_cannot_do_is_a_typed_error() -> None:
    with pytest.raises(EmNASError, match="same_step"):
        native(autoreset_mode="next_step")
    envs = native()
    with pytest.raises(UnknownName, match="did you mean action_masks"):
        envs.env_method("action_mask")
    with pytest.raises(EmNASError, match="give it to EmNASVectorEnv"):
        envs.set_attr("on_invalid", "end")
    assert envs.env_method("action_masks", indices=[1, 2]).shape == (2, 10)
    assert envs.get_attr("on_invalid", 0) == ["resample"]
    assert envs.env_is_wrapped(object) == [False] * COUNT
    assert not envs.has_attr("ledger")
    assert isinstance(envs.observation_space, spaces.MultiDiscrete)
    envs.close()
