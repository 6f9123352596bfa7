"""What agents themselves take: how it is counted, and what the command prints."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
pytest.importorskip("ethosu.regor", reason="needs the package ethos-u-vela")

from benchmarks.cli import app
from benchmarks.throughput import cost as measured
from benchmarks.throughput.cost import Pace, World, chain, chosen_agents, cost, runs_of, table
from benchmarks.throughput.cost_page import markdown
from benchmarks.throughput.stopwatch import Times
from emnas_gym.architecture import Architecture
from emnas_gym.errors import UnknownName
from emnas_gym.evaluator import Evaluator, Result
from emnas_gym.measurement import Measurement
from emnas_gym.registry import reward_driven

CHEAP = ["random", "evolution"]
DOCS = Path(__file__).parents[1] / "docs"


def _run(*words: str) -> str:
    command = ["cost", "--agents", "random,evolution", "--evaluations", "30", *words]
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout


def test_every_agent_has_its_times_in_both_worlds() -> None:  # B26
    found = json.loads(_run("--runs", "2", "--json"))
    assert set(found) == {"agents", "machine"}
    assert found["machine"]["cores"] >= 1
    assert list(found["agents"]) == CHEAP
    for worlds in found["agents"].values():
        assert set(worlds) == {"table", "chain"}
        for took in worlds.values():
            assert took["wall_s"] > 0
            assert took["cpu_s"] > 0
            assert took["evaluations"] == 30
            assert took["runs"] == 2


def test_they_are_shown_as_a_table() -> None:
    lines = _run("--runs", "1").splitlines()
    for agent in CHEAP:
        for world in ("table", "chain"):
            assert sum(agent in line and world in line and " 30 " in line for line in lines) == 1


def test_a_page_a_picture_and_figures_are_published(tmp_path: Path) -> None:  # B26
    printed = json.loads(_run("--runs", "1", "--json", "--publish", str(tmp_path)))
    written = json.loads((tmp_path / "cost.json").read_text(encoding="utf-8"))
    assert written == printed
    assert (tmp_path / "cost.md").read_text(encoding="utf-8") == markdown(written)
    assert (tmp_path / "images" / "cost.png").stat().st_size > 5_000


def test_the_page_has_the_quickest_agent_first_and_says_what_is_scaled() -> None:
    def took(wall: float, evaluations: int) -> dict[str, Any]:
        return {"wall_s": wall, "cpu_s": wall / 2, "evaluations": evaluations, "runs": 3}

    agents = {
        "slow": {"table": took(0.5, 1000), "chain": took(40.0, 120)},
        "random": {"table": took(0.25, 1000), "chain": took(1.5, 1000)},
    }
    page = markdown({"agents": agents, "machine": {"cpu": "X", "cores": 2, "python": "P"}})
    assert page.splitlines()[-2:] == [
        "| random (baseline) | 0.25 | 0.12 | 1,000 | 1.50 | 0.75 | 1,000 |",
        "| slow | 0.50 | 0.25 | 1,000 | 40 | 20 | 120 |",
    ]
    assert "the median\nof 3 runs" in page
    assert "not 1,000, the seconds are those of so many, multiplied" in page


def test_all_that_search_stand_on_the_published_page() -> None:
    figures = json.loads((DOCS / "cost.json").read_text(encoding="utf-8"))
    assert sorted(figures["agents"]) == sorted(reward_driven())
    assert (DOCS / "cost.md").read_text(encoding="utf-8") == markdown(figures)


def test_agents_take_turns_and_each_run_is_told() -> None:
    told: list[str] = []
    cost(CHEAP, 5, 2, 20.0, told.append)
    assert told == ["random", "evolution"] * 2 * 3, "two worlds, one round to begin with"
    assert len(told) == runs_of(CHEAP, 2)


def test_a_thousand_evaluations_at_the_speeds_of_the_rounds() -> None:
    times = Times(wall=[500.0, 250.0, 100.0], cpu=[1000.0, 2000.0, 4000.0])
    assert measured._seconds(times) == {"wall_s": 4.0, "cpu_s": 0.5}


class _Slow(Evaluator):
    """What another one says, with time to spend."""

    provides = frozenset({"accuracy", "latency_ms"})

    def __init__(self, inner: Evaluator) -> None:
        self._inner = inner

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        time.sleep(0.01 * len(batch))
        return self._inner.evaluate(batch)


def test_a_slow_first_run_sets_how_many_evaluations_the_later_ones_take() -> None:
    quick, told = chain(), list[str]()
    world = World(quick.problem, _Slow(quick.evaluator))
    pace = Pace("evolution", world, 10_000, 0.2, told.append)
    contestant = pace.contestant()
    counts = []
    for _ in range(3):
        contestant.prepare()
        counts.append(contestant.work())
    assert counts[0] < 10_000
    assert counts == [pace.evaluations] * 3
    assert told == ["evolution"] * 3


@pytest.mark.parametrize("make", [table, chain])
def test_worlds_reward_networks_differently(make: Callable[[], World]) -> None:
    world = make()
    rng, problem = np.random.default_rng(0), world.problem
    drawn = [problem.space.sample(rng, problem.task, problem.budgets) for _ in range(20)]
    results = world.evaluator.evaluate(drawn)
    known = [result for result in results if isinstance(result, Measurement)]
    assert len(known) == 20
    assert len({problem.reward(result)[0] for result in known}) > 10
    assert all(0 < (result.accuracy or 0) < 1 for result in known)


def test_an_unknown_agent_is_named_with_the_nearest_ones() -> None:
    with pytest.raises(UnknownName, match="evolution"):
        chosen_agents(["evolutoin"])
    refused = CliRunner().invoke(app, ["cost", "--agents", "evolutoin"])
    assert isinstance(refused.exception, UnknownName)


def test_all_agents_are_measured_unless_some_are_named() -> None:
    assert chosen_agents([]) == sorted(reward_driven())
    assert chosen_agents(["random", "evolution", "random"]) == CHEAP
