"""The environment: three answers to an illegal token, bad input, evaluators, ledgers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conftest import TINY, ByTokens
from gymnasium.utils.env_checker import check_env
from playing import equal, make_env, make_tiny_env, play
from scipy.stats import chisquare

from emnas_gym.architecture import Architecture
from emnas_gym.env import ON_INVALID
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

BAD_ACTIONS = [-1, 383, 2**70, 3.5, np.float32(3), np.nan, "a", b"1", None, True, np.True_,
               np.uint64(2**64 - 1), [3], np.array([3]), np.array(3.0)]  # fmt: skip

# ----------------------------------------------------------------------------------- on_invalid


def test_resample_draws_uniformly_among_the_legal() -> None:
    env = make_tiny_env()
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
    env = make_env(evaluator=["analytic", ByTokens()])
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
        env = make_tiny_env(evaluator=by_tokens, on_invalid="end", reward=reward)
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
    env = make_tiny_env(evaluator=by_tokens, on_invalid="penalise")
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
    env = make_tiny_env(evaluator=by_tokens, on_invalid="penalise")
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
    env, twin = make_env(on_invalid=on_invalid), make_env(on_invalid=on_invalid)
    env.reset(seed=0)
    twin.reset(seed=0)
    for action in BAD_ACTIONS:
        with pytest.raises(IllegalAction, match=r"outside 0 … 382"):
            env.step(action)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    legal = [rng.choice(np.flatnonzero(env.action_masks()))]
    assert equal(env.step(legal[0]), twin.step(legal[0]))


def test_stepping_before_reset_or_after_the_end_raises() -> None:
    env = make_env()
    with pytest.raises(IllegalAction, match="call reset"):
        env.step(np.int64(4))
    play(env, np.random.default_rng(0))
    for action in (0, 4, 382):
        with pytest.raises(IllegalAction, match="call reset"):
            env.step(action)  # type: ignore[arg-type]
    assert play(env, np.random.default_rng(0))[-1][2]


@pytest.mark.parametrize(
    "kind", [int, np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64]
)
def test_whole_numbers_of_every_width_are_actions(kind: Any) -> None:
    env = make_env()
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
        make_env(**keywords)


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
        info = play(make_tiny_env(evaluator=evaluator), np.random.default_rng(0))[-1][4]
        assert info["measurement"]["latency_ms"] == 2.0
    named = make_tiny_env(
        evaluator=[one, "analytic"]
    )  # a later one overrides an earlier one's fields
    info = play(named, np.random.default_rng(0))[-1][4]
    assert info["measurement"]["accuracy"] == 0.5
    assert info["measurement"]["latency_ms"] < 2.0
    string = make_tiny_env(evaluator=[one, "emnas_gym.analytic:AnalyticEvaluator"])
    assert equal(play(string, np.random.default_rng(0))[-1][4], info)


def test_an_object_that_cannot_serve_the_reward_is_refused_at_once() -> None:
    class Latency(Fixed):
        provides = frozenset({"latency_ms"})

    with pytest.raises(EmNASError, match="needs accuracy, which Latency on stm32f446re"):
        make_env(evaluator=Latency(Measurement.of("host", latency_ms=1.0)))


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
    env = make_tiny_env(evaluator=Fixed(result))
    _, reward, terminated, _, info = play(env, np.random.default_rng(0))[-1]
    assert terminated
    assert reward == env.problem.reward.illegal
    assert info["feasible"] is False
    assert "architecture" in info
    assert "measurement" not in info


def test_a_missing_field_is_a_typed_error_and_the_episode_is_over() -> None:
    env = make_tiny_env(evaluator=Fixed(Measurement.of("board", accuracy=0.5)))
    with pytest.raises(EvaluationError, match="needs latency_ms, which nothing measured"):
        play(env, np.random.default_rng(0))
    with pytest.raises(IllegalAction, match="call reset"):
        env.step(np.int64(4))
    env.reset(seed=0)
    env.step(np.int64(4))


def test_an_evaluator_that_crashes_leaves_the_environment_usable() -> None:
    evaluator = Fixed(RuntimeError("the board burns"))
    env = make_tiny_env(evaluator=evaluator)
    with pytest.raises(RuntimeError, match="burns"):
        play(env, np.random.default_rng(0))
    assert set(np.flatnonzero(env.action_masks())) == {0}
    evaluator.result = Measurement.of("board", accuracy=0.5, latency_ms=1.0)
    assert play(env, np.random.default_rng(0))[-1][2]


def test_what_a_compiler_refuses_or_a_clock_exceeds_is_not_feasible() -> None:  # E8
    refused = Measurement.of("analytic", accuracy=0.5, latency_ms=1.0, feasible=False)
    info = play(make_tiny_env(evaluator=Fixed(refused)), np.random.default_rng(0))[-1][4]
    assert info["feasible"] is False
    slow = Fixed(Measurement.of("host", accuracy=0.5, latency_ms=9.0))
    for limit, fits in ((8.9, False), (9.0, True)):
        env = make_tiny_env(evaluator=slow, budgets={"latency_ms": limit})
        assert play(env, np.random.default_rng(0))[-1][4]["feasible"] is fits


# ------------------------------------------------------------------------------------- on ledger


@pytest.mark.parametrize("on_invalid", ON_INVALID)
def test_on_a_ledger_episodes_truncate_once_it_is_spent(
    tiny_problem: Problem, on_invalid: str
) -> None:
    ledger = Ledger(ByTokens(), tiny_problem, 3)
    env = ledger.env(on_invalid=on_invalid, observation="ids")
    rng = np.random.default_rng(0)
    for _ in range(2):
        assert "budget_spent" not in play(env, rng)[-1][4]
    *_, terminated, truncated, info = play(env, rng)[-1]
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
    env = make_env(space=path)
    assert env.action_space == gym.spaces.Discrete(4)
    check_env(env, skip_render_check=True)
    assert play(env, np.random.default_rng(0))[-1][4]["feasible"]


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
