"""The environment: its checkers, its determinism, and what an episode tells."""

from __future__ import annotations

import warnings
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from conftest import BUDGETS, TINY, ByTokens
from gymnasium.utils.env_checker import check_env
from playing import equal, make_env, play
from stable_baselines3.common.env_checker import check_env as check_env_sb3
from table_worlds import registered_keywords

import emnas_gym
from emnas_gym import costs, encodings
from emnas_gym.env import OBSERVATIONS, ON_INVALID, EmNASEnv
from emnas_gym.measurement import Measurement
from emnas_gym.tasks import DIGITS

# ------------------------------------------------------------------------------------- checkers


@pytest.mark.parametrize("on_invalid", ON_INVALID)
@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_both_checkers_pass_without_a_warning(observation: str, on_invalid: str) -> None:  # B2
    keywords = {"budgets": BUDGETS, "evaluator": ByTokens(), "observation": observation}
    env = gym.make("EmNAS-v0", on_invalid=on_invalid, **keywords)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
        check_env_sb3(env.unwrapped)


@pytest.mark.parametrize("name", sorted(emnas_gym.REGISTERED))
def test_every_registered_id_passes_both_checkers(name: str, tmp_path: Path) -> None:  # B2
    env = gym.make(name, **registered_keywords(name, tmp_path))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
        check_env_sb3(env.unwrapped)
    last = play(env, np.random.default_rng(0), seed=1)[-1]
    assert last[2] or last[3], "plays have no end of their own"
    low, high = env.unwrapped.problem.reward.range  # type: ignore[attr-defined]
    assert low <= last[1] <= high


def test_make_lets_every_keyword_through() -> None:
    env = gym.make(
        "EmNAS-v0", evaluator=ByTokens(), space=TINY, min_layers=3, max_layers=4, reward="linear",
        device="stm32f746zg", observation="onehot", on_invalid="end",
    ).unwrapped  # fmt: skip
    assert isinstance(env, EmNASEnv)
    assert (env.problem.min_layers, env.problem.max_layers) == (3, 4)
    assert env.problem.reward.name == "linear"
    assert env.problem.device.name == "stm32f746zg"
    assert env.observation_space.shape == (4 * 10,)
    assert env.action_space == gym.spaces.Discrete(10)


def test_a_spec_round_trips() -> None:
    spec = gym.spec("EmNAS-v0")
    again = gym.envs.registration.EnvSpec.from_json(spec.to_json())
    env = gym.make(again, evaluator=ByTokens())
    assert env.spec is not None
    assert env.spec.id == "EmNAS-v0"
    assert env.unwrapped.problem.budgets == BUDGETS  # type: ignore[attr-defined]


def test_a_vector_of_environments(by_tokens: ByTokens) -> None:
    envs = gym.make_vec("EmNAS-v0", num_envs=3, vectorization_mode="sync", evaluator=by_tokens)
    _, infos = envs.reset(seed=0)
    rng, finished = np.random.default_rng(0), 0
    for _ in range(40):
        actions = [rng.choice(np.flatnonzero(mask)) for mask in infos["action_mask"]]
        _, rewards, terminated, _, infos = envs.step(np.array(actions))
        finished += int(terminated.sum())
        assert (rewards[~terminated] == 0).all()
    assert finished == len(by_tokens.asked) > 3


# ----------------------------------------------------------------------------------- determinism


@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_two_environments_with_one_seed_are_equal_step_for_step(observation: str) -> None:
    runs = []
    for _ in range(2):
        env, rng, seen = make_env(observation=observation), np.random.default_rng(3), []
        env.reset(seed=11)
        for _ in range(5):
            seen += play(env, rng)
        env.reset()
        for _ in range(60):  # and with the mask ignored, where the seed decides what is drawn
            seen.append(env.step(rng.integers(383)))
            if seen[-1][2]:
                env.reset()
        runs.append(seen)
    assert equal(*runs)
    tokens = [step[4]["token"] for step in runs[0] if len(step) == 5]
    assert len(set(tokens)) > 20


def test_seeds_decide_what_resample_draws() -> None:
    def drawn(seed: int) -> list[int]:
        env = make_env()
        env.reset(seed=seed)
        return [env.step(np.int64(0))[4]["token"] for _ in range(3)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


# --------------------------------------------------------------------------------------- episode


@pytest.mark.parametrize("lengths", [(None, None), (6, 6)])
def test_with_the_mask_obeyed_every_network_builds_and_fits(
    lengths: tuple[int | None, int | None],
) -> None:  # A14, A15, A16, E8, F14
    env = make_env(evaluator=["analytic", ByTokens()], min_layers=lengths[0], max_layers=lengths[1])
    rng = np.random.default_rng(0)
    for _ in range(40):
        *steps, (observation, reward, terminated, truncated, info) = play(env, rng)
        assert terminated
        assert not truncated
        assert info["feasible"] is True
        tokens = info["architecture"]
        assert tokens.dtype == np.int16
        assert tokens.shape == (env.problem.max_layers,)
        assert np.array_equal(tokens, observation)
        placed = tokens[tokens > 0].tolist()
        assert len(placed) == len(steps), "one token a step"
        assert env.problem.min_layers <= len(placed) <= env.problem.max_layers
        assert placed[-1] == env.problem.space.end_token
        graph = env.problem.space.build(placed, DIGITS)
        measured = info["measurement"]
        assert measured["flash_bytes"] == costs.flash_bytes(graph) <= 32768
        assert measured["ram_bytes"] == costs.ram_bytes(graph) <= 8192
        assert measured["macs"] == costs.macs(graph)
        again = Measurement.of("predicted", **measured)
        assert env.problem.reward(again) == (reward, info["reward_terms"])
        assert all(r == 0 for _, r, *_ in steps[1:]), "nothing before the end"
        assert set(np.flatnonzero(info["action_mask"])) == {0}


def test_observations_are_one_network_written_down_four_ways() -> None:  # A14, A15, A17
    envs = {kind: make_env(observation=kind) for kind in OBSERVATIONS}
    space = envs["tokens"].problem.space
    for env in envs.values():
        env.reset(seed=0)
    rng = np.random.default_rng(1)
    for token in space.sample(rng, DIGITS, BUDGETS).tokens:
        seen = {kind: env.step(token)[0] for kind, env in envs.items()}
        for kind, env in envs.items():
            assert env.observation_space.contains(seen[kind])
        placed = tuple(int(t) for t in seen["tokens"] if t)
        assert np.array_equal(seen["tokens"], seen["ids"])
        assert encodings.from_onehot(seen["onehot"].reshape(15, 383)) == placed
        largest = encodings.detail_table(space).max(axis=0)
        matrix = seen["layers"].reshape(15, -1) * np.where(largest > 0, largest, 1)
        assert np.allclose(matrix, encodings.layer_matrix(space, placed, 15))


def test_observations_and_masks_are_copies() -> None:
    env = make_env()
    first, info = env.reset(seed=0)
    action = int(np.flatnonzero(info["action_mask"])[0])
    info["action_mask"][:] = 7
    env.action_masks()[:] = 7
    second = env.step(action)[0]
    assert first[0] == 0
    assert second[0] == action
    assert set(np.unique(env.action_masks())) == {0, 1}
    assert env.action_masks().dtype == np.int8


def test_the_reward_vector_belongs_to_the_reward_space() -> None:  # E7
    env = make_env()
    info = play(env, np.random.default_rng(0))[-1][4]
    assert env.reward_space.contains(info["reward_vector"])
    accuracy, latency = info["measurement"]["accuracy"], info["measurement"]["latency_ms"]
    assert np.allclose(info["reward_vector"], [accuracy, -latency])


def test_spent_grows_to_the_costs_of_the_network() -> None:
    env = make_env()
    env.reset(seed=0)
    tokens = env.problem.space.sample(np.random.default_rng(2), DIGITS, BUDGETS).tokens
    before = env.spent
    for token in tokens:
        env.step(token)
        assert all(env.spent[name] >= value for name, value in before.items())
        before = env.spent
    graph = env.problem.space.build(tokens, DIGITS)
    assert before == {
        "flash_bytes": costs.flash_bytes(graph),
        "macs": costs.macs(graph),
        "ram_bytes": costs.ram_bytes(graph),
    }
