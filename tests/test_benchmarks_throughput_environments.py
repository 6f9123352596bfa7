"""The figures of environments and of learning on them: what they hold, at sizes of a moment."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
pytest.importorskip("ethosu.regor", reason="needs the package ethos-u-vela")

from benchmarks.cli import app
from benchmarks.throughput import environments, learning, stopwatch
from benchmarks.throughput.stopwatch import Contestant, race, ratio


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "NATIVE", {2: 4, 16: 4})
    monkeypatch.setattr(environments, "SYNC", (2, 4))
    monkeypatch.setattr(environments, "ASYNC", (2, 2))
    monkeypatch.setattr(environments, "SINGLE", 20)
    few = partial(environments.memory_per_env, 64)
    monkeypatch.setattr(environments, "memory_per_env", few)
    for name, value in (("SINGLE", 2), ("MANY", 16), ("BATCH", 64), ("SEEDS", (0,))):
        monkeypatch.setattr(learning, name, value)
    settings = learning.SETTINGS | {"n_steps": 16, "batch_size": 64}
    monkeypatch.setattr(learning, "SETTINGS", settings)
    monkeypatch.setattr(learning, "DEFAULT_STEPS", 64)
    default = lambda: learning._pair(2000, 0)  # noqa: E731
    monkeypatch.setattr(learning, "equal_reward", default)


def run(part: str) -> dict[str, Any]:
    command = ["throughput", "--only", part, "--rounds", "2", "--json"]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.slow  # two worker processes import everything
def test_throughput_of_environments_is_measured(small: None) -> None:  # D6, E18
    figures = run("env")
    assert set(figures["vector"]) == {"2", "16"}
    speeds = [figures["single"], figures["sync_2"], figures["async_2"], *figures["vector"].values()]
    assert all(speed > 0 for speed in speeds)
    assert set(figures["cpu"]) == {"single", "vector", "sync_2", "ratio_to_sync"}
    assert figures["ratio_to_sync"] > 0
    assert 0 < figures["memory_per_env_bytes"]["held"] < figures["memory_per_env_bytes"]["peak"]
    assert figures["rounds"] == 2


@pytest.mark.slow
def test_throughput_of_learning_is_measured(small: None) -> None:  # B26, D6
    figures = run("sb3")
    for name in ("rollout", "end_to_end"):
        assert figures[f"{name}_ratio"] > 0
        assert set(figures[name]) == {"single_2", "native_16"}
    ours, defaults = (figures["equal_reward"][name] for name in ("native_settings", "sb3_defaults"))
    assert defaults["samples"] == 2048
    assert defaults["reached"]
    assert ours["reached"] == (ours["reward"] >= defaults["reward"])


def test_both_learners_play_the_same_problem() -> None:
    one, many = learning.single_envs(2), learning.native_envs(3)
    assert one.observation_space == many.observation_space
    assert one.get_attr("problem")[0] == many.get_attr("problem")[0]
    assert one.get_attr("problem")[0].budgets.to_json()


def test_a_race_takes_turns_and_warms_up() -> None:
    order: list[str] = []

    def contestant(name: str) -> Contestant:
        def work() -> int:
            order.append(name)
            return 10

        return Contestant(lambda: order.append(f"prepare {name}"), work)

    times = race({"a": contestant("a"), "b": contestant("b")}, 2, lambda: order.append("round"))
    turn = ["prepare a", "a", "prepare b", "b"]
    assert order == [*turn, *turn, "round", *turn, "round"]
    assert len(times["a"].wall) == len(times["b"].cpu) == 2
    one, other = stopwatch.Times([2.0, 9.0, 4.0], []), stopwatch.Times([1.0, 1.0, 1.0], [])
    assert ratio(one, other) == 4.0


def test_recorded_actions_are_legal() -> None:
    envs = environments.native(4)
    envs.reset(seed=0)
    for action in environments._record(4, 10):
        *_, info = envs.step(action)
        assert not info["invalid"].any()
        assert np.array_equal(info["token"][info["_token"]], action[info["_token"]])
