"""The environment: its checkers, its three answers to an illegal token, and what it tells."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conftest import BUDGETS, TINY, ByTokens
from gymnasium.utils.env_checker import check_env
from scipy.stats import chisquare
from stable_baselines3.common.env_checker import check_env as check_env_sb3

import emnas_gym
from emnas_gym import costs, encodings
from emnas_gym.architecture import Architecture
from emnas_gym.env import OBSERVATIONS, ON_INVALID, EmNASEnv
from emnas_gym.errors import (
    EmNASError,
    EvaluationError,
    IllegalAction,
    InfeasibleBudgets,
    UnknownName,
)
from emnas_gym.evaluator import Evaluator, Result
from emnas_gym.ledger import Ledger
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.tasks import DIGITS

BAD_ACTIONS = [-1, 383, 2**70, 3.5, np.float32(3), np.nan, "a", b"1", None, True, np.True_,
               np.uint64(2**64 - 1), [3], np.array([3]), np.array(3.0)]  # fmt: skip


def _env(**keywords: Any) -> EmNASEnv:
    return EmNASEnv(**{"budgets": BUDGETS, "evaluator": ByTokens()} | keywords)


def _tiny_env(**keywords: Any) -> EmNASEnv:
    return EmNASEnv(**{"space": TINY, "budgets": BUDGETS, "evaluator": ByTokens()} | keywords)


def _play(
    env: gym.Env[Any, Any], rng: np.random.Generator, seed: int | None = None
) -> list[tuple[Any, ...]]:
    """An episode that obeys the mask; everything that was seen."""
    observation, info = env.reset(seed=seed)
    seen: list[tuple[Any, ...]] = [(observation, info)]
    while True:
        action = rng.choice(np.flatnonzero(info["action_mask"]))
        seen.append(env.step(action))
        _, _, terminated, truncated, info = seen[-1]
        if terminated or truncated:
            return seen


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_equal(a[k], b[k]) for k in a)
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(_equal, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return bool(a == b)


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
def test_every_registered_id_passes_both_checkers(name: str) -> None:  # B2
    env = gym.make(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
        check_env_sb3(env.unwrapped)
    last = _play(env, np.random.default_rng(0), seed=1)[-1]
    assert last[2]
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
        env, rng, seen = _env(observation=observation), np.random.default_rng(3), []
        env.reset(seed=11)
        for _ in range(5):
            seen += _play(env, rng)
        env.reset()
        for _ in range(60):  # and with the mask ignored, where the seed decides what is drawn
            seen.append(env.step(rng.integers(383)))
            if seen[-1][2]:
                env.reset()
        runs.append(seen)
    assert _equal(*runs)
    tokens = [step[4]["token"] for step in runs[0] if len(step) == 5]
    assert len(set(tokens)) > 20


def test_seeds_decide_what_resample_draws() -> None:
    def drawn(seed: int) -> list[int]:
        env = _env()
        env.reset(seed=seed)
        return [env.step(np.int64(0))[4]["token"] for _ in range(3)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


# --------------------------------------------------------------------------------------- episode


@pytest.mark.parametrize("lengths", [(None, None), (6, 6)])
def test_with_the_mask_obeyed_every_network_builds_and_fits(
    lengths: tuple[int | None, int | None],
) -> None:  # A14, A15, A16, E8, F14
    env = _env(evaluator=["analytic", ByTokens()], min_layers=lengths[0], max_layers=lengths[1])
    rng = np.random.default_rng(0)
    for _ in range(40):
        *steps, (observation, reward, terminated, truncated, info) = _play(env, rng)
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
    envs = {kind: _env(observation=kind) for kind in OBSERVATIONS}
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
    env = _env()
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
    env = _env()
    info = _play(env, np.random.default_rng(0))[-1][4]
    assert env.reward_space.contains(info["reward_vector"])
    accuracy, latency = info["measurement"]["accuracy"], info["measurement"]["latency_ms"]
    assert np.allclose(info["reward_vector"], [accuracy, -latency])


def test_spent_grows_to_the_costs_of_the_network() -> None:
    env = _env()
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


# ----------------------------------------------------------------------------------- on_invalid


def test_resample_draws_uniformly_among_the_legal() -> None:
    env = _tiny_env()
    _, info = env.reset(seed=5)
    legal = np.flatnonzero(info["action_mask"]).tolist()
    assert legal == [1, 2, 3, 4, 5]
    counts = dict.fromkeys(legal, 0)
    for action in (0, 9, 6):  # "no layer", the end, a pad: illegal at first
        for _ in range(200):
            env.reset()
            told = env.step(action)[4]
            assert told["invalid"] is True
            counts[told["token"]] += 1
    assert chisquare(list(counts.values())).pvalue > 1e-3


def test_resample_with_the_mask_ignored_still_ends_in_networks_that_fit(rng: Any) -> None:
    env = _env(evaluator=["analytic", ByTokens()])
    observation, info = env.reset(seed=0)
    finished = 0
    for _ in range(400):
        mask, action = info["action_mask"], int(rng.integers(383))
        observation, _, terminated, truncated, info = env.step(action)
        assert not truncated
        assert info["invalid"] == (mask[action] == 0)
        assert mask[info["token"]] == 1, "what was placed was legal"
        assert info["token"] == action or info["invalid"]
        if terminated:
            assert info["feasible"]
            finished += 1
            observation, info = env.reset()
    assert observation.shape == (15,)
    assert finished > 20


def test_end_gives_the_declared_value_below_any_legal_reward(by_tokens: ByTokens) -> None:
    for reward in ("weighted_product", "linear", "exponential", "constrained"):
        env = _tiny_env(evaluator=by_tokens, on_invalid="end", reward=reward)
        env.reset(seed=0)
        observation, value, terminated, truncated, info = env.step(np.int64(0))
        assert (terminated, truncated) == (True, False)
        assert value == env.problem.reward.illegal < env.problem.reward.range[0]
        assert info["invalid"] is True
        assert info["feasible"] is False
        assert "measurement" not in info
        assert not observation.any(), "the state has not changed"
        assert set(np.flatnonzero(info["action_mask"])) == {0}
        with pytest.raises(IllegalAction):
            env.step(np.int64(1))
    assert by_tokens.asked == [], "nothing was measured"


def test_penalise_takes_its_share_and_truncates_in_the_end(by_tokens: ByTokens) -> None:
    env = _tiny_env(evaluator=by_tokens, on_invalid="penalise")
    low, high = env.problem.reward.range
    env.reset(seed=0)
    before = env.step(np.int64(4))[0]
    for step in range(2, 4 * 5 + 1):
        observation, reward, terminated, truncated, info = env.step(np.int64(0))
        assert reward == pytest.approx(-0.05 * (high - low))
        assert np.array_equal(observation, before), "the state has not changed"
        assert not terminated
        assert truncated == (step == 20)
        assert info["invalid"]
        assert info["token"] == 0
    with pytest.raises(IllegalAction, match="reset"):
        env.step(np.int64(4))
    env.reset()
    assert env.step(np.int64(4))[3] is False
    assert by_tokens.asked == []


def test_penalise_measures_a_network_finished_in_the_last_step(by_tokens: ByTokens) -> None:
    env = _tiny_env(evaluator=by_tokens, on_invalid="penalise")
    env.reset(seed=0)
    for action in [0] * 18 + [1]:
        assert env.step(np.int64(action))[2:4] == (False, False)
    _, reward, terminated, truncated, info = env.step(np.int64(9))
    assert (terminated, truncated) == (True, False)
    assert by_tokens.asked == [(1, 9)]
    assert info["feasible"]
    assert reward == env.problem.reward(by_tokens.measure(TINY.architecture((1, 9))))[0]


# ------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("on_invalid", ON_INVALID)
def test_an_action_outside_the_space_raises_and_changes_nothing(on_invalid: str) -> None:
    env, twin = _env(on_invalid=on_invalid), _env(on_invalid=on_invalid)
    env.reset(seed=0)
    twin.reset(seed=0)
    for action in BAD_ACTIONS:
        with pytest.raises(IllegalAction, match=r"outside 0 … 382"):
            env.step(action)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    legal = [rng.choice(np.flatnonzero(env.action_masks()))]
    assert _equal(env.step(legal[0]), twin.step(legal[0]))


def test_stepping_before_reset_or_after_the_end_raises() -> None:
    env = _env()
    with pytest.raises(IllegalAction, match="call reset"):
        env.step(np.int64(4))
    _play(env, np.random.default_rng(0))
    for action in (0, 4, 382):
        with pytest.raises(IllegalAction, match="call reset"):
            env.step(action)  # type: ignore[arg-type]
    assert _play(env, np.random.default_rng(0))[-1][2]


@pytest.mark.parametrize(
    "kind", [int, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
)
def test_whole_numbers_of_every_width_are_actions(kind: Any) -> None:
    env = _env()
    for action in (kind(4), np.array(4, dtype=kind)):
        env.reset(seed=0)
        assert env.step(action)[4] | {"action_mask": None} == {
            "token": 4, "invalid": False, "action_mask": None,
        }  # fmt: skip


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"space": "emnas-328"}, UnknownName, "did you mean emnas-382"),
        ({"task": "digit"}, UnknownName, "did you mean digits"),
        ({"device": "stm32f446"}, UnknownName, "did you mean stm32f446re"),
        ({"evaluator": "trianed"}, UnknownName, "did you mean trained"),
        ({"evaluator": None}, EmNASError, "a name, an object or a list"),
        ({"evaluator": ByTokens}, EmNASError, "make an object of the class"),
        ({"reward": "weighted-product"}, UnknownName, "did you mean weighted_product"),
        ({"reward": {"name": "linear", "wieght": 1.0}}, UnknownName, "did you mean weight"),
        ({"reward": {"weight": 1.0}}, UnknownName, "unknown reward None"),
        ({"observation": "one-hot"}, UnknownName, "did you mean onehot"),
        ({"on_invalid": "resmple"}, UnknownName, "did you mean resample"),
        ({"render_mode": "rgb"}, UnknownName, "did you mean rgb_array"),
        ({"budgets": {"ram": 5}}, UnknownName, "did you mean ram_bytes"),
        ({"budgets": {"ram_bytes": "8k"}}, InfeasibleBudgets, "ram_bytes = '8k' is not a number"),
        ({"budgets": {"ram_bytes": 300}}, InfeasibleBudgets, "the least of each alone is"),
        ({"min_layers": 9, "max_layers": 5}, InfeasibleBudgets, "lie outside"),
        ({"max_layers": 40}, InfeasibleBudgets, "lie outside"),
        ({"max_layers": "9"}, InfeasibleBudgets, "whole numbers"),
    ],
)
def test_unknown_names_and_senseless_values_are_typed_errors(
    keywords: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        _env(**keywords)


# ------------------------------------------------------------------------------------ evaluators


class Fixed(Evaluator):
    """Gives every network the same values; or the error."""

    provides = frozenset({"accuracy", "latency_ms"})

    def __init__(self, result: Result | Exception) -> None:
        self.result = result

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        if isinstance(self.result, (Measurement, EvaluationError)):
            return [self.result] * len(batch)
        raise self.result


def test_evaluators_by_name_object_list_and_import_string() -> None:  # E10
    one = Fixed(Measurement.of("host", accuracy=0.5, latency_ms=2.0))
    for evaluator in (one, [one], ["analytic", one]):
        info = _play(_tiny_env(evaluator=evaluator), np.random.default_rng(0))[-1][4]
        assert info["measurement"]["latency_ms"] == 2.0
    named = _tiny_env(evaluator=[one, "analytic"])  # a later one overrides an earlier one's fields
    info = _play(named, np.random.default_rng(0))[-1][4]
    assert info["measurement"]["accuracy"] == 0.5
    assert info["measurement"]["latency_ms"] < 2.0
    string = _tiny_env(evaluator=[one, "emnas_gym.analytic:AnalyticEvaluator"])
    assert _equal(_play(string, np.random.default_rng(0))[-1][4], info)


def test_an_object_that_cannot_serve_the_reward_is_refused_at_once() -> None:
    class Latency(Fixed):
        provides = frozenset({"latency_ms"})

    with pytest.raises(EmNASError, match="needs accuracy, which Latency on stm32f446re"):
        _env(evaluator=Latency(Measurement.of("host", latency_ms=1.0)))


@pytest.mark.parametrize(
    "result",
    [
        EvaluationError("the board is gone"),
        Measurement.of("board", accuracy=float("nan"), latency_ms=1.0),
        Measurement.of("board", accuracy=0.5, latency_ms=float("inf")),
    ],
    ids=["error", "nan", "inf"],
)
def test_a_network_that_could_not_be_measured_has_the_illegal_value(result: Result) -> None:
    env = _tiny_env(evaluator=Fixed(result))
    _, reward, terminated, _, info = _play(env, np.random.default_rng(0))[-1]
    assert terminated
    assert reward == env.problem.reward.illegal
    assert info["feasible"] is False
    assert "architecture" in info
    assert "measurement" not in info


def test_a_missing_field_is_a_typed_error_and_the_episode_is_over() -> None:
    env = _tiny_env(evaluator=Fixed(Measurement.of("board", accuracy=0.5)))
    with pytest.raises(EvaluationError, match="needs latency_ms, which nothing measured"):
        _play(env, np.random.default_rng(0))
    with pytest.raises(IllegalAction, match="call reset"):
        env.step(np.int64(4))
    env.reset(seed=0)
    env.step(np.int64(4))


def test_an_evaluator_that_crashes_leaves_the_environment_usable() -> None:
    evaluator = Fixed(RuntimeError("the board burns"))
    env = _tiny_env(evaluator=evaluator)
    with pytest.raises(RuntimeError, match="burns"):
        _play(env, np.random.default_rng(0))
    assert set(np.flatnonzero(env.action_masks())) == {0}
    evaluator.result = Measurement.of("board", accuracy=0.5, latency_ms=1.0)
    assert _play(env, np.random.default_rng(0))[-1][2]


def test_what_a_compiler_refuses_or_a_clock_exceeds_is_not_feasible() -> None:  # E8
    refused = Measurement.of("analytic", accuracy=0.5, latency_ms=1.0, feasible=False)
    info = _play(_tiny_env(evaluator=Fixed(refused)), np.random.default_rng(0))[-1][4]
    assert info["feasible"] is False
    slow = Fixed(Measurement.of("host", accuracy=0.5, latency_ms=9.0))
    for limit, fits in ((8.9, False), (9.0, True)):
        env = _tiny_env(evaluator=slow, budgets={"latency_ms": limit})
        assert _play(env, np.random.default_rng(0))[-1][4]["feasible"] is fits


# ------------------------------------------------------------------------------------- on ledger


@pytest.mark.parametrize("on_invalid", ON_INVALID)
def test_on_a_ledger_episodes_truncate_once_it_is_spent(
    tiny_problem: Problem, on_invalid: str
) -> None:
    ledger = Ledger(ByTokens(), tiny_problem, 3)
    env = ledger.env(on_invalid=on_invalid, observation="ids")
    rng = np.random.default_rng(0)
    for _ in range(2):
        assert "budget_spent" not in _play(env, rng)[-1][4]
    *_, terminated, truncated, info = _play(env, rng)[-1]
    assert (terminated, truncated, info["budget_spent"]) == (True, False, True)
    _, info = env.reset()
    *_, terminated, truncated, info = env.step(np.flatnonzero(info["action_mask"])[0])
    assert (terminated, truncated, info["budget_spent"]) == (False, True, True)
    assert ledger.count == 3
    assert ledger.steps == sum(len(row.tokens) for row in ledger.rows) + 1
    assert ledger.invalid_steps == 0


def test_several_environments_share_one_ledger(tiny_problem: Problem) -> None:
    by_tokens = ByTokens()
    ledger = Ledger(by_tokens, tiny_problem, 10)
    envs = ledger.vec_env(4)
    _, infos = envs.reset(seed=0)
    rng = np.random.default_rng(0)
    for _ in range(200):
        actions = [rng.choice(np.flatnonzero(mask)) for mask in infos["action_mask"]]
        _, _, _, _, infos = envs.step(np.array(actions))
        if ledger.spent:
            break
    assert ledger.count == 10
    assert len(by_tokens.asked) == ledger.distinct


def test_a_space_of_the_users_own(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(OWN, encoding="utf-8")
    env = _env(space=path)
    assert env.action_space == gym.spaces.Discrete(4)
    check_env(env, skip_render_check=True)
    assert _play(env, np.random.default_rng(0))[-1][4]["feasible"]


OWN = """
name = "own"
min_layers = 2
max_layers = 4

[rules]
first = ["conv"]

[[tokens]]
kind = "conv"
filters = [4, 8]
kernel = 3
stride = 2
padding = "same"
activation = "relu"

[[tokens]]
kind = "output"
head = "dense"
"""
