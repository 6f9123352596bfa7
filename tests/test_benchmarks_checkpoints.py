"""Protocols: many short runs on tables, what they reach at checkpoints, kept and gone on with."""

from __future__ import annotations

import io
import json
import os
import signal
import sqlite3
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from table_worlds import small_table

from agents.base import Agent
from agents.runs import make_agent
from benchmarks.checkpoints import known_tables
from benchmarks.checkpoints.known_tables import open_world
from benchmarks.checkpoints.one_run import Outcome, run_once
from benchmarks.checkpoints.protocol import (
    Contestant,
    Protocol,
    World,
    chosen,
    find_protocol,
    load_protocol,
)
from benchmarks.checkpoints.run import Wish, run_protocol
from benchmarks.checkpoints.store import RunStore
from benchmarks.checkpoints.summary import figures, read_summary
from benchmarks.checkpoints.tables import markdown, show
from benchmarks.cli import app
from benchmarks.suites.suite import FOLDER as SUITES
from emnas_gym.errors import DatasetError, EmNASError, StoreError, UnknownName
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem
from emnas_gym.table_file import write_table

GOOD = """
name = "mine"
title = "Mine"
checkpoints = [3, 8]
least_runs = 6
more_runs = [[100.0, 12]]

[[worlds]]
dataset = "toy"
protocol = "oracle"
table = "TABLE"
signal = "test"

[[worlds]]
dataset = "toy"
protocol = "honest"
table = "TABLE"

[[agents]]
agent = "random"

[[agents]]
label = "climber"
agent = "local-search"
options = { repeats = true }
"""
KILLS = 20


class InTurn(Executor):
    """Does in this process what it is given, and counts it."""

    def __init__(self) -> None:
        self.calls = 0

    def submit(self, work: Callable[..., Any], /, *given: Any, **more: Any) -> Future[Any]:
        self.calls += 1
        future: Future[Any] = Future()
        try:
            future.set_result(work(*given, **more))
        except BaseException as error:
            future.set_exception(error)
        return future


@pytest.fixture
def protocol_file(tmp_path: Path) -> Path:
    write_table(small_table(), tmp_path / "small.npz")
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace("TABLE", str(tmp_path / "small.npz")), encoding="utf-8")
    return path


@pytest.fixture
def protocol(protocol_file: Path) -> Protocol:
    return load_protocol(protocol_file)


def _run(
    protocol: Protocol, folder: Path, wish: Wish | None = None, docs: str = "nothing"
) -> tuple[dict[str, Any], int]:
    """The summary, and how many calls of workers it took."""
    here, console = InTurn(), Console(file=io.StringIO())
    found = run_protocol(
        protocol, folder / "out", wish or Wish(), console, "this", folder / docs, here
    )
    return found, here.calls


def _rows(path: Path) -> list[tuple[Any, ...]]:
    with sqlite3.connect(path) as db:
        return db.execute('SELECT cell, seed, "values" FROM runs ORDER BY cell, seed').fetchall()


# ------------------------------------------------------------------------------------------- files


def test_a_protocol_of_the_users_own(protocol: Protocol, tmp_path: Path) -> None:  # B25
    table = str(tmp_path / "small.npz")
    assert protocol == Protocol(
        "mine",
        "Mine",
        (3, 8),
        6,
        ((100.0, 12),),
        (World("toy", "oracle", table, signal="test"), World("toy", "honest", table)),
        (Contestant("random", "random"), Contestant("climber", "local-search", {"repeats": True})),
    )
    assert [one.label for one in protocol.worlds] == ["toy-oracle", "toy-honest"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("least_runs", "least_run", "unknown key 'least_run' (did you mean 'least_runs'?"),
        ("[3, 8]", "[8, 3]", "ascending"),
        ("[3, 8]", "[0, 8]", "ascending"),
        ("[3, 8]", "[]", "ascending"),
        ("[3, 8]", "[3, true]", "ascending"),
        ("least_runs = 6", "least_runs = 0", "least_runs is a whole number from 1"),
        ("[[100.0, 12]]", "[[100.0]]", "more_runs are pairs"),
        ("[[100.0, 12]]", "[[100.0, 0]]", "runs is a whole number from 1"),
        ('signal = "test"', 'signal = "tset"', "unknown signal 'tset'"),
        ('agent = "random"', 'agent = "evolution"', "no agent 'random'"),
        ('protocol = "honest"', 'protocol = "oracle"', "labels are distinct"),
        ('protocol = "honest"', 'protocol = "../up"', "cannot be the name of a folder"),
        ('dataset = "toy"\nprotocol = "honest"', 'dataset = "toy"', "protocol is missing"),
        ('label = "climber"', 'label = "random"', "labels are distinct"),
    ],
)
def test_a_slip_in_a_file_is_named(protocol_file: Path, old: str, new: str, said: str) -> None:
    text = protocol_file.read_text(encoding="utf-8")
    assert old in text
    protocol_file.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(EmNASError) as caught:
        load_protocol(protocol_file)
    assert said.split(" (did")[0] in str(caught.value)


def test_the_example_of_the_docs_is_one(tmp_path: Path) -> None:
    page = (Path(__file__).parents[1] / "docs" / "suites.md").read_text(encoding="utf-8")
    blocks = [block.split("```")[0] for block in page.split("```toml\n")[1:]]
    (example,) = [block for block in blocks if "checkpoints" in block]
    (tmp_path / "mine.toml").write_text(example, encoding="utf-8")
    found = load_protocol(tmp_path / "mine.toml")
    assert found.checkpoints == (30, 100)
    assert [one.runs for one in found.agents] == [0, 100]


def test_protocols_and_suites_are_told_apart(protocol_file: Path) -> None:
    assert find_protocol(str(protocol_file)) == protocol_file
    assert find_protocol("nb201") is not None
    assert find_protocol(str(SUITES / "first.toml")) is None
    assert find_protocol("first") is None
    assert find_protocol("no-such") is None


def test_part_of_a_protocol(protocol: Protocol) -> None:
    part = chosen(protocol, ("climber",), ("honest",))
    assert [one.label for one in part.agents] == ["climber"]
    assert [one.label for one in part.worlds] == ["toy-honest"]
    assert chosen(protocol, (), ("toy",)) == protocol
    with pytest.raises(UnknownName, match="climber"):
        chosen(protocol, ("climbr",), ())
    with pytest.raises(UnknownName, match="honest"):
        chosen(protocol, (), ("honst",))


def test_how_many_runs_follows_from_their_seconds(protocol: Protocol) -> None:  # B26
    rule = replace(protocol, least_runs=30, more_runs=((0.1, 500), (1.0, 200)))
    agent = protocol.agents[0]
    assert [rule.runs_of(agent, s) for s in (0.05, 0.1, 0.5, 1.0, 9.0)] == [500, 200, 200, 30, 30]
    assert rule.runs_of(replace(agent, runs=7), 0.05) == 7


# -------------------------------------------------------------------------------------------- runs


@pytest.mark.parametrize("world", [0, 1])
def test_a_run_tells_what_it_would_deliver(protocol: Protocol, world: int) -> None:  # B25
    """Against the record of the same search: the test accuracy of what looked best by then."""
    one, agent = protocol.worlds[world], protocol.agents[0]
    problem, evaluator = open_world(one)
    for seed in range(4):
        found = run_once(one, agent, (1, 3, 8), seed)
        ledger = Ledger(evaluator, problem, 8)
        make_agent(agent.agent).search(problem, ledger, seed)
        for at, value in zip((1, 3, 8), found.values, strict=True):
            seen = [row.reward for row in ledger.rows[:at]]
            best = ledger.rows[seen.index(max(seen))]
            network = problem.space.architecture(best.tokens)
            assert value == pytest.approx(100 * np.mean(evaluator.test_accuracies(network)))
        ledger.history.close()


def test_the_oracle_sees_what_is_reported(protocol: Protocol) -> None:
    oracle, honest = (open_world(world)[1] for world in protocol.worlds)
    table = small_table()
    seen = table.metrics["long"]
    signals = [one.space.table.metrics[one.metric].valid for one in (oracle, honest)]
    assert np.array_equal(signals[0], seen.test)
    assert np.array_equal(signals[1], seen.valid)
    values = [run_once(protocol.worlds[0], protocol.agents[1], (1, 4, 12), s).values
              for s in range(5)]  # fmt: skip
    assert all(list(run) == sorted(run) for run in values), "an oracle never delivers less later"


class Lazy(Agent):
    """Measures one network, and is content."""

    name, summary = "lazy", "Measures one network."

    def _search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        ledger.evaluate([problem.space.architecture(problem.space.tokens_of(3))])


def test_an_agent_that_ends_early_keeps_what_it_had(protocol: Protocol) -> None:
    lazy = Contestant("lazy", f"{__name__}:Lazy")
    found = run_once(protocol.worlds[0], lazy, protocol.checkpoints, 0)
    assert found.values[0] == found.values[1] > 0


def test_means_deviations_and_runs(protocol: Protocol, tmp_path: Path) -> None:  # B25
    summary, _ = _run(protocol, tmp_path)
    found = figures(summary)
    assert set(found) == {"toy"}
    assert set(found["toy"]) == {"oracle", "honest"}
    for world in protocol.worlds:
        for agent in protocol.agents:
            points = found["toy"][world.protocol][agent.label]
            runs = [run_once(world, agent, (3, 8), seed).values for seed in range(12)]
            for i, at in enumerate(("3", "8")):
                values = [values[i] for values in runs]
                assert points[at] == {
                    "mean": pytest.approx(np.mean(values)),
                    "sd": pytest.approx(np.std(values, ddof=1)),
                    "runs": 12,
                }
    cells = {(cell["world"], cell["agent"]): cell["points"] for cell in summary["cells"]}
    assert cells["toy-oracle", "random"]["8"]["p"] is None
    assert 0 < cells["toy-oracle", "climber"]["8"]["p_holm"] <= 1
    assert read_summary(tmp_path / "out" / "mine" / "result.json") == json.loads(
        json.dumps(summary)
    )


def test_runs_that_are_there_are_not_made_again(protocol: Protocol, tmp_path: Path) -> None:
    first, calls = _run(protocol, tmp_path, Wish(agents=("random",)))
    assert calls > 0
    assert {cell["agent"] for cell in first["cells"]} == {"random"}
    whole, more = _run(protocol, tmp_path)
    assert more > 0
    assert _run(protocol, tmp_path) == (whole, 0)
    alone, _ = _run(protocol, tmp_path / "alone")
    assert figures(alone) == figures(whole)


def test_killed_at_twenty_moments_the_rows_are_the_same(
    protocol: Protocol, tmp_path: Path
) -> None:  # B25
    _run(protocol, tmp_path / "through")
    rng, ended = np.random.default_rng(), 0
    for _ in range(KILLS):
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGPROF, signal.SIG_DFL)
            signal.setitimer(signal.ITIMER_PROF, rng.uniform(0.001, 0.08))
            try:
                _run(protocol, tmp_path / "killed")
            finally:
                os._exit(0)
        ended += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert ended, "no run was ended on its way"
    _run(protocol, tmp_path / "killed")
    rows = [
        _rows(tmp_path / name / "out" / "mine" / "runs.sqlite") for name in ("through", "killed")
    ]
    assert rows[0] == rows[1]
    assert len(rows[0]) == 48


# ------------------------------------------------------------------------------- committed results


@pytest.fixture
def committed(protocol: Protocol, tmp_path: Path) -> dict[str, Any]:
    """A result in the folder ``docs``, as `--publish` leaves it."""
    found, _ = _run(protocol, tmp_path / "before", Wish(publish=tmp_path / "docs"))
    return found


def test_what_is_committed_is_not_computed(
    protocol: Protocol, committed: dict[str, Any], tmp_path: Path
) -> None:  # B25
    again, calls = _run(protocol, tmp_path, docs="docs")
    assert calls == 0
    assert figures(again) == figures(committed)


def test_other_settings_are_computed(
    protocol: Protocol, committed: dict[str, Any], tmp_path: Path
) -> None:
    climber = replace(protocol.agents[1], options={"repeats": False})
    other = replace(protocol, agents=(protocol.agents[0], climber))
    found, calls = _run(other, tmp_path, docs="docs")
    assert calls > 0
    assert (
        figures(found)["toy"]["oracle"]["random"] == figures(committed)["toy"]["oracle"]["random"]
    )
    points = {c["agent"]: c["points"]["8"] for c in found["cells"] if c["world"] == "toy-oracle"}
    assert points["climber"]["p"] is not None, "random search was run again to compare with"


def test_more_runs_are_computed(
    protocol: Protocol, committed: dict[str, Any], tmp_path: Path
) -> None:
    found, _ = _run(replace(protocol, more_runs=((100.0, 20),)), tmp_path, docs="docs")
    assert figures(found)["toy"]["honest"]["climber"]["3"]["runs"] == 20


def test_another_table_of_the_same_name_is_computed(
    protocol: Protocol, committed: dict[str, Any], tmp_path: Path
) -> None:
    write_table(small_table(seed=5), tmp_path / "small.npz")
    open_world.cache_clear()
    assert _run(protocol, tmp_path, docs="docs")[1] > 0


def test_without_the_table_the_committed_stands(
    protocol: Protocol,
    committed: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nowhere(path: str) -> Any:
        raise DatasetError("set EMNAS_DATA")

    monkeypatch.setattr(known_tables, "read_table", nowhere)
    open_world.cache_clear()
    again, calls = _run(protocol, tmp_path, docs="docs")
    assert calls == 0
    assert figures(again) == figures(committed)
    with pytest.raises(DatasetError, match="EMNAS_DATA"):
        _run(protocol, tmp_path, Wish(fresh=True), docs="docs")


def test_all_anew(protocol: Protocol, committed: dict[str, Any], tmp_path: Path) -> None:
    part = Wish(agents=("random",), fresh=True)
    _, begun = _run(protocol, tmp_path, part, "docs")
    found, rest = _run(protocol, tmp_path, Wish(fresh=True), "docs")
    again, whole = _run(protocol, tmp_path, Wish(fresh=True), "docs")
    assert 0 < rest < whole == begun + rest, "an unfinished one goes on; a finished one begins anew"
    assert figures(found) == figures(again) == figures(committed)


def test_the_page_and_the_picture(committed: dict[str, Any], tmp_path: Path) -> None:
    page = (tmp_path / "docs" / "mine.md").read_text(encoding="utf-8")
    assert page == markdown(committed)
    point = next(c for c in committed["cells"] if c["agent"] == "climber")["points"]["8"]
    assert f"{point['mean']:.3f}" in page
    assert (tmp_path / "docs" / "images" / "mine.png").read_bytes().startswith(b"\x89PNG")
    text = Console(file=io.StringIO(), width=120)
    show(committed, text)
    assert f"{point['mean']:.3f}" in text.file.getvalue()  # type: ignore[attr-defined]


# --------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    "change",
    [
        {"format": 7},
        {"checkpoints": "3"},
        {"cells": [{}]},
        {"worlds": {"toy-oracle": {"dataset": 3}}},
    ],
)
def test_a_damaged_result_is_refused(
    protocol: Protocol, committed: dict[str, Any], tmp_path: Path, change: dict[str, Any]
) -> None:
    (tmp_path / "docs" / "mine.json").write_text(json.dumps(committed | change), encoding="utf-8")
    with pytest.raises(StoreError, match=r"mine\.json"):
        _run(protocol, tmp_path, docs="docs")


def test_a_store_of_something_else_is_refused(protocol: Protocol, tmp_path: Path) -> None:
    path = tmp_path / "out" / "mine" / "runs.sqlite"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no database at all, but long enough to be read as one" * 30)
    with pytest.raises(StoreError, match=r"runs\.sqlite"):
        _run(protocol, tmp_path)


def test_two_runners_do_not_share_a_store(protocol: Protocol, tmp_path: Path) -> None:
    with RunStore(tmp_path / "out" / "mine" / "runs.sqlite"):
        with pytest.raises(StoreError, match="in use"):
            _run(protocol, tmp_path)


def test_damaged_values_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs.sqlite"
    with RunStore(path) as store:
        store.add("cell", [Outcome(0, (1.0, 2.0), 0.1, 0.1)])
        assert store.outcomes("cell") == [Outcome(0, (1.0, 2.0), 0.1, 0.1)]
    for text in ("[1.0, ", '"x"', "[true]", "[" * 20_000):
        with sqlite3.connect(path) as db:
            db.execute('UPDATE runs SET "values" = ?', (text,))
        with RunStore(path) as store, pytest.raises(StoreError, match="damaged"):
            store.outcomes("cell")


def _asked(*words: str) -> EmNASError:
    from typer.testing import CliRunner

    found = CliRunner().invoke(app, ["run", *words])
    assert isinstance(found.exception, EmNASError), found.output
    return found.exception


def test_options_of_suites_and_of_protocols(protocol_file: Path, tmp_path: Path) -> None:
    for option in (["--ray", "local"], ["--tensorboard"], ["--evaluations", "5"]):
        assert "for suites" in str(_asked(str(protocol_file), *option))
    for option in (["--fresh"], ["--publish", str(tmp_path)]):
        assert "for protocols" in str(_asked("first", *option))


def test_the_command_prints_what_it_found(
    protocol_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # E7
    given = ["run", str(protocol_file), "--out", str(tmp_path / "out"), "--workers", "1", "--json"]
    app(given, standalone_mode=False)
    printed = json.loads(capsys.readouterr().out)
    assert printed["toy"]["oracle"]["climber"]["8"]["runs"] == 12
    assert set(printed["toy"]["honest"]["random"]) == {"3", "8"}
