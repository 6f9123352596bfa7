"""Running a suite from its command line: interrupted, resumed, and the table that it prints."""

from __future__ import annotations

import html
import io
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from small_suites import few_draws, rows_of, run_here, small_suite, suite_text
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.report.suite.markdown_tables import suite_markdown
from benchmarks.report.suite.page import render_suite
from benchmarks.report.suite.samplers import sampler_notes
from benchmarks.report.suite.terminal import show_suite, tables
from benchmarks.suites import verify
from benchmarks.suites.collect import collect_result
from benchmarks.suites.run import Part
from benchmarks.suites.suite import Entry, Environment, suite_names
from emnas_gym.errors import StoreError, UnknownName
from predictors.training import Recipe

ROOT = Path(__file__).parents[1]
SUITE = suite_text(
    """
name = "mine"
evaluations = 120
seeds = 2
verify_seeds = 1
reference = 20
""",
    evolution="population = 20",
)


def _start(suite: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "benchmarks", "run", str(suite), "--out", str(out), "--json"]
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def _finish(suite: Path, out: Path) -> dict[str, Any]:
    process = _start(suite, out)
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    result: dict[str, Any] = json.loads(printed)
    return result


def test_the_command_runs_a_part_and_says_what_is_missing(tmp_path: Path) -> None:  # B25
    suite = tmp_path / "mine.toml"
    suite.write_text(SUITE.replace("verify_seeds = 1", ""), encoding="utf-8")
    command = ["run", str(suite), "--out", str(tmp_path), "--seeds", "1", "--evaluations", "12"]
    part = [*command, "--workers", "1", "--agents", "random", "--envs", "digits"]
    done = CliRunner().invoke(app, part, catch_exceptions=False)
    assert "1 runs are missing" in done.stdout
    done = CliRunner().invoke(app, [*part, "--json"], catch_exceptions=False)
    result = json.loads(done.stdout)
    assert result["missing"] == [{"env": "digits", "agent": "evolution", "seed": 0}]
    assert result["seeds"] == 1
    assert result["environments"][0]["evaluations"] == 12
    with pytest.raises(UnknownName, match="'rondom': did you mean random"):
        CliRunner().invoke(app, [*command, "--agents", "rondom"], catch_exceptions=False)


@pytest.mark.usefixtures(few_draws.__name__)
def test_the_command_writes_the_page_beside_the_result(tmp_path: Path) -> None:  # B25
    suite = tmp_path / "mine.toml"
    suite.write_text(SUITE.replace("verify_seeds = 1", ""), encoding="utf-8")
    command = ["run", str(suite), "--out", str(tmp_path), "--seeds", "1", "--evaluations", "12"]
    CliRunner().invoke(app, [*command, "--json"], catch_exceptions=False)
    page = tmp_path / "mine" / "report.html"
    assert not page.exists(), "with --json only the result is written"
    done = CliRunner().invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0
    assert f"report: {page}" in done.output.replace("\n", "")
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "evolution" in text
    assert (tmp_path / "mine" / "result.json").exists()


LACKS = "digits: random search runs without the sampler walk, which may be the stronger one."


@pytest.mark.usefixtures(few_draws.__name__)
def test_a_suite_with_one_sampler_says_so(tmp_path: Path) -> None:
    """Design 5: random search is the stronger of two samplers, and both are shown."""
    suite = small_suite(seeds=1, evaluations=12)
    assert _told(run_here(suite, tmp_path / "one")) == [True] * 3
    walk = Entry("walk", "random", {"sampler": "walk"})
    both = replace(suite, agents=(*suite.agents, walk))
    assert _told(run_here(both, tmp_path / "both")) == [False] * 3
    begun = run_here(both, tmp_path / "begun", Part(agents=("random",)))
    assert begun["missing"]
    assert _told(begun) == [False] * 3, "the other one is still to come"
    elsewhere = replace(walk, only=("fixed",))
    fixed = Environment("fixed", "EmNAS-v0", 12, {"min_layers": 6, "max_layers": 6})
    two = replace(
        suite,
        environments=(*suite.environments, fixed),
        agents=(*suite.agents, elsewhere),
    )
    result = run_here(two, tmp_path / "two")
    assert sampler_notes(result) == [LACKS]
    alone = replace(two, environments=(fixed,), agents=suite.agents)
    assert sampler_notes(run_here(alone, tmp_path / "fixed")) == [], "with one length both are one"
    only_walk = replace(suite, agents=(walk,))
    (note,) = sampler_notes(run_here(only_walk, tmp_path / "walk"))
    assert note == LACKS.replace("sampler walk", "sampler uniform-length")


def _told(result: dict[str, Any]) -> list[bool]:
    """Whether terminal, page and Markdown say that a sampler is missing, in one line."""
    console = Console(width=200, record=True, file=io.StringIO())
    show_suite(result, console)
    places = (console.export_text(), html.unescape(render_suite(result)), suite_markdown(result))
    return [any(LACKS in line for line in place.splitlines()) for place in places]


def test_the_suites_are_listed() -> None:
    shown = CliRunner().invoke(app, ["suites"], catch_exceptions=False).stdout
    assert all(f"{name}: " in shown for name in suite_names())
    listed = CliRunner().invoke(app, ["suites", "--json"], catch_exceptions=False).stdout
    assert [one["name"] for one in json.loads(listed)["suites"]] == suite_names()


@pytest.mark.usefixtures(few_draws.__name__)
def test_winners_are_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # D1
    monkeypatch.setattr(verify, "full_recipe", lambda: Recipe(epochs=1))
    digits = Environment("digits", "EmNAS-v0", 12, verify_seeds=2)
    suite = small_suite(seeds=1, environments=(digits,))
    result = run_here(suite, tmp_path)
    assert result["finished"]
    for run in result["runs"]:
        assert run["verified"]["trainings"] == 2
        assert run["verified"]["predicted_reward"] == run["winner"]["reward"]
        assert 0 <= run["verified"]["accuracy"] <= 1
    assert result["predicted_verified"]["digits"]["n"] == 2
    weights = {p: p.stat().st_mtime_ns for p in (tmp_path / "small").rglob("*.npz")}
    assert weights
    assert run_here(suite, tmp_path) == result
    assert all(path.stat().st_mtime_ns == then for path, then in weights.items()), "trained again"
    (tmp_path / "small" / "digits" / "winners.json").unlink()
    assert not collect_result(tmp_path / "small")["finished"], "the winners are not verified"


@pytest.mark.slow
def test_interrupted_and_resumed_a_suite_is_the_same(tmp_path: Path) -> None:  # E8
    suite = tmp_path / "mine.toml"
    suite.write_text(SUITE, encoding="utf-8")
    process = _start(suite, tmp_path / "cut")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list((tmp_path / "cut").rglob("run.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers as well
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert "the same command goes on" in errors
    assert "Traceback" not in errors
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "cut").rglob("run.json")}
    resumed, whole = _finish(suite, tmp_path / "cut"), _finish(suite, tmp_path / "whole")
    assert kept
    assert all(p.stat().st_mtime_ns == then for p, then in kept.items()), "done twice"
    assert rows_of(tmp_path / "cut") == rows_of(tmp_path / "whole")
    for part in ("statistics", "profiles", "curves", "predicted_verified", "environments"):
        assert resumed[part] == whole[part], part
    assert resumed["finished"]
    assert all(run["verified"]["trainings"] == 1 for run in resumed["runs"])
    assert resumed["predicted_verified"]["digits"]["n"] == 4
    console = Console(width=80, record=True, file=io.StringIO())
    show_suite(resumed, console)
    shown = console.export_text()
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= 80
    for headers, rows in tables(resumed, "digits").items():
        assert {len(row) for row in rows} == {len(headers)}
        assert all(cell in shown for row in rows for cell in row)
    with pytest.raises(StoreError, match="a result of format 2 is shown here, not of None"):
        show_suite({"suite": "first", "agents": {}}, console)


def test_shares_that_the_sample_is_too_small_for_are_not_told(tmp_path: Path) -> None:
    """Of twenty networks nobody can say which reward the best per cent has."""
    result = run_here(small_suite(seeds=1, evaluations=20), tmp_path)
    thresholds = result["environments"][0]["reference"]["thresholds"]
    unknown = {share for share, value in thresholds.items() if value is None}
    assert {"1", "0.1"} <= unknown < set(thresholds)
    for run in result["runs"]:
        assert set(run["to_top"]) == set(thresholds) - unknown
