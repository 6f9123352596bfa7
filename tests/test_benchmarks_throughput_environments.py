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
from benchmarks.throughput.parts import measure, rounds_of
from benchmarks.throughput.stopwatch import Contestant, race, ratio


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "NATIVE", {2: 4, 16: 4})
    monkeypatch.setattr(environments, "SYNC", (2, 4))
    monkeypatch.setattr(environments, "ASYNC", (2, 2))
    monkeypatch.setattr(environments, "SINGLE", 20)
    few = partial(environments.memory_per_env, 64)
    monkeypatch.setattr(environments, "memory_per_env", few)
    sizes = {"SINGLE": 2, "MANY": 16, "BATCH": 64, "DEFAULT_STEPS": 32, "TO_EQUAL": 256}
    for name, value in sizes.items():
        monkeypatch.setattr(learning, name, value)
    settings = learning.SETTINGS | {"n_steps": 16, "batch_size": 64}
    monkeypatch.setattr(learning, "SETTINGS", settings)


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


def test_throughput_of_learning_is_measured(small: None) -> None:  # B26, D6
    told: list[str] = []
    figures = measure("sb3", 1, told.append, rounds=2)
    assert len(told) == rounds_of("sb3", 1, 2) == 4
    assert set(figures) == {
        "rollout", "rollout_ratio", "end_to_end", "end_to_end_ratio", "native_settings"
    }  # fmt: skip
    for name in ("rollout", "end_to_end"):
        assert figures[f"{name}_ratio"] > 0
        assert set(figures[name]) == {"single_2", "native_16", "cpu_ratio"}
        assert all(figures[name]["native_16"][clock] > 0 for clock in ("wall", "cpu"))
    found = figures["native_settings"]
    assert (found["samples"], found["rounds"]) == (256, 2)
    assert found["ratio"] > 0
    defaults, ours = found["sb3_defaults"], found["native"]
    assert defaults.keys() == ours.keys()
    assert defaults["reached"] == 2, "who sets the level reaches it"
    assert 64 <= defaults["samples_to_level"] <= 256
    assert defaults["seconds_to_level"] > 0
    assert (ours["seconds_to_level"] is None) == (ours["reached"] < 1.5)
    json.dumps(figures, allow_nan=False)


def test_the_way_to_a_level_is_traced() -> None:
    """Means of finished networks are those of the environments' own rewards."""
    made = learning.native_envs(8)
    trace = learning.Trace(256, level=-np.inf)
    rewards: list[list[float]] = [[]]
    real = made.step_wait

    def step() -> Any:
        answer = real()
        rewards[-1].extend(answer[1][answer[2]].tolist())
        return answer

    made.step_wait = step  # type: ignore[method-assign]
    model = learning.maskable_ppo(made, 0, n_steps=16, batch_size=64)
    real_end = trace._on_rollout_end

    def end() -> None:
        real_end()
        rewards.append([])

    trace._on_rollout_end = end  # type: ignore[method-assign]
    model.learn(10_000, callback=trace)
    assert [point.samples for point in trace.points] == [128, 256]
    assert model.num_timesteps == 256 + 8, "the step after it sees that this is enough"
    for point, mine in zip(trace.points, rewards, strict=False):
        assert point.reward == pytest.approx(np.mean(mine))
    seconds = [point.seconds for point in trace.points]
    assert seconds == sorted(seconds)


def test_a_level_is_learnt_for_until_it_is_reached() -> None:
    points = [learning.Point(100, 1.0, 0.5), learning.Point(200, 2.0, np.nan)]
    trace = learning.Trace(100, level=0.6)
    trace.points = points
    assert trace.reached is None
    trace.points = [*points, learning.Point(300, 3.0, 0.6), learning.Point(400, 4.0, 0.9)]
    assert trace.reached == learning.Point(300, 3.0, 0.6)
    assert learning._to_level(trace)["seconds_to_level"] == 3.0
    runs = [{"seconds_to_level": s, "wall": 1.0} for s in (2.0, None, None)]
    assert learning._medians(runs) == {"seconds_to_level": None, "wall": 1.0, "reached": 1.0}
    runs[1]["seconds_to_level"] = 8.0
    assert learning._medians(runs)["seconds_to_level"] == 8.0
    assert learning._sooner(6.0, 2.0) == 3.0
    assert learning._sooner(6.0, None) == 0.0


def test_figures_are_shown_as_a_table(small: None, monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"export": {"median_ms": 1.5, "ratio": None}, "single": 52_584.0, "rounds": 2}
    monkeypatch.setattr("benchmarks.cli_measures.measure", lambda *arguments: found)
    shown = CliRunner().invoke(app, ["throughput"], catch_exceptions=False).stdout
    for name, value in (
        ("export.median_ms", "1.5"),
        ("export.ratio", "–"),
        ("single", "5.258e+04"),
    ):
        assert any(name in line and value in line for line in shown.splitlines())


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
