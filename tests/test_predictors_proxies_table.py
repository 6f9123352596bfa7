"""One table of all estimators: its statistics by hand, its cache, and what is published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from emnas_gym.errors import EvaluationError, StoreError
from predictors.cli import app
from predictors.proxies import table
from predictors.proxies.measured import MeasuredLines, Values
from predictors.proxies.page import markdown
from predictors.proxies.picture import draw
from predictors.proxies.reduced import FewerEpochs
from predictors.proxies.table import FULL, REDUCED, Column, figures
from predictors.proxies.zero_cost import NAMES

ROOT = Path(__file__).parents[1]
PUBLISHED = ROOT / "docs" / "training_proxies.json"
ABOUT = {"space": "a", "task": "b"}


def _column(name: str, values: list[float], seconds: float, accuracies: bool = True) -> Column:
    n = len(values)
    spent = np.full(n, seconds)
    return Column(name, "trained", np.array(values), spent, np.full(n, 0.25), accuracies)


def test_a_row_by_hand() -> None:  # D6
    truth = np.array([0.1, 0.2, 0.3, 0.4, 0.5])
    full = _column(FULL, truth.tolist(), 2.0)
    row = figures(_column("worse", [0.0, 0.1, 0.3, 0.2, 0.4], 0.5), truth, full)
    assert row["tau"][1] == pytest.approx(0.8), "one of ten pairs is the wrong way round"
    assert row["bias"][1] == pytest.approx(-0.1)
    assert row["mae"] == pytest.approx(0.1)
    assert (row["seconds"], row["equivalents"], row["speed_up"], row["n"]) == (0.5, 0.25, 4.0, 5)
    assert row["tau"][0] <= row["tau"][1] <= row["tau"][2]
    assert row["bias"][0] < row["bias"][1] < row["bias"][2]
    exact = figures(full, truth, full)
    assert exact["tau"][1] == pytest.approx(1)
    assert (exact["bias"], exact["speed_up"]) == ([0, 0, 0], 1)
    score = figures(_column("score", [5, 4, 3, 2, 1], 0.1, accuracies=False), truth, full)
    assert score["tau"][1] == pytest.approx(-1)
    assert (score["bias"], score["mae"]) == (None, None)


def test_networks_without_an_estimate_are_left_out_and_counted() -> None:  # D4
    truth = np.array([0.1, 0.2, 0.3, 0.4])
    full = _column(FULL, truth.tolist(), 2.0)
    row = figures(_column("12 pixels", [0.1, np.nan, 0.3, 0.4], 1.0), truth, full)
    assert (row["n"], row["tau"][1], row["bias"][1]) == (3, pytest.approx(1), 0)
    assert row["tau_full"] == pytest.approx(1)


def test_the_cache_resumes_after_a_cut_line(tmp_path: Path) -> None:
    path, asked = tmp_path / "folder" / "lines.jsonl", []

    def measure() -> Values:
        asked.append(1)
        return {"accuracy": 0.1 + 0.2}

    lines = MeasuredLines(path, ABOUT)
    assert lines.get("full", (1, 2), measure) == {"accuracy": 0.1 + 0.2}
    lines.get("full", (3,), measure)
    assert len(asked) == 2
    path.write_bytes(path.read_bytes()[:-10])  # as kill -9 would
    again = MeasuredLines(path, ABOUT)
    assert again.get("full", (1, 2), measure) == {"accuracy": 0.1 + 0.2}, "to the bit"
    assert len(asked) == 2
    again.get("full", (3,), measure)
    assert len(asked) == 3
    assert sorted(MeasuredLines(path, ABOUT)) == [("full", "1 2"), ("full", "3")]


def test_a_failure_is_remembered(tmp_path: Path) -> None:
    def fails() -> Values:
        raise EvaluationError("the loss is not finite")

    lines = MeasuredLines(tmp_path / "lines.jsonl", ABOUT)
    assert lines.get("full", (1,), fails) == {"error": "the loss is not finite"}
    assert MeasuredLines(lines.path, ABOUT).get("full", (1,), dict)["error"]


@pytest.mark.parametrize(
    "damage", ["{}", '{"what": "x"}', "not json", '{"what": 1, "tokens": "", "values": 3}', "[]"]
)
def test_a_damaged_cache_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "lines.jsonl"
    MeasuredLines(path, ABOUT).get("full", (1,), lambda: {"accuracy": 1.0})
    path.write_text(path.read_text() + damage + "\n")
    with pytest.raises(StoreError, match="line 3: is damaged"):
        MeasuredLines(path, ABOUT)
    with pytest.raises(StoreError, match="measured under other conditions"):
        MeasuredLines(path, {"space": "z", "task": "b"})
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(StoreError, match="is no text"):
        MeasuredLines(path, ABOUT)


# ------------------------------------------------------------------------------ what is published


@pytest.fixture(scope="module")
def published() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    return found


def test_what_is_published_is_of_today(published: dict[str, Any]) -> None:  # D2, D3, D4, D5, D6
    """Every estimator has a row with τ, seconds and intervals, and no other has."""
    rows = {row["name"]: row for row in published["rows"]}
    for name in (*REDUCED, *NAMES, "early-stopped", "surrogate (shipped)"):
        row = rows.pop(name)
        assert row["tau"][0] <= row["tau"][1] <= row["tau"][2]
        assert row["seconds"] > 0
        assert row["n"] >= 20
    assert len(rows) == 4, f"three continued curves and one combination: {list(rows)}"


def test_published_elimination_and_extrapolation_reach_their_bounds(
    published: dict[str, Any],
) -> None:  # D11, D12, D13
    r2 = published["curves"]["test"]
    assert r2["curve and architecture"] >= r2["curve alone"] >= 0.8
    assert published["elimination"]["saved"][1] >= 0.4
    assert published["elimination"]["kept"][1] >= 0.9


def test_published_scores_together_are_not_much_worse_than_one(
    published: dict[str, Any],
) -> None:  # D14
    taus = {row["name"]: row["tau"][1] for row in published["rows"]}
    together = next(tau for name, tau in taus.items() if name.startswith("zero-cost scores"))
    assert together >= max(taus[name] for name in NAMES) - 0.05


def test_the_picture_is_a_picture(published: dict[str, Any], tmp_path: Path) -> None:
    draw(published, tmp_path / "folder" / "table.png")
    data = (tmp_path / "folder" / "table.png").read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(data) > 20_000


@pytest.mark.slow
def test_the_command_measures_resumes_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # D2, D6
    """Ten networks, the full training and one epoch of it; the second run trains nothing."""
    monkeypatch.setattr(table, "REDUCED", {FULL: (), "1 epoch": (FewerEpochs(1),)})
    monkeypatch.setattr(table, "COMBINED_FROM", 25)
    cache = tmp_path / "lines.jsonl"
    command = ["proxies", "--networks", "10", "--out", str(tmp_path), "--cache", str(cache)]
    first = CliRunner().invoke(app, [*command, "--json"])
    assert first.exit_code == 0, first.output
    known = cache.read_bytes()
    second = CliRunner().invoke(app, command)
    assert second.exit_code == 0, second.output
    assert cache.read_bytes() == known
    found = json.loads(first.stdout)
    rows = {row["name"]: row for row in found["rows"]}
    assert rows[FULL]["tau"][1] > 0.6, "two trainings agree"
    assert rows["1 epoch"]["bias"][1] < -0.1, "one epoch is not enough"
    assert rows["1 epoch"]["speed_up"] > 2
    assert (tmp_path / "images" / "training_proxies.png").is_file()
    again = json.loads((tmp_path / "training_proxies.json").read_text())
    assert (tmp_path / "training_proxies.md").read_text(encoding="utf-8") == markdown(again)
    assert _without_times(again) == _without_times(found)


def _without_times(found: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows; what is not trained is timed anew by every run."""
    timed = ("seconds", "speed_up")
    return [{k: v for k, v in row.items() if k not in timed} for row in found["rows"]]


def test_the_page_is_made_of_the_figures_that_stand_beside_it() -> None:  # D6
    figures = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    page = PUBLISHED.with_suffix(".md").read_text(encoding="utf-8")
    assert page == markdown(figures)
    full = next(row for row in figures["rows"] if row["name"] == FULL)
    full["tau"] = [0.11, 0.22, 0.33]
    assert "| 0.22 (0.11 … 0.33) |" in markdown(figures)
    figures["rows"].remove(full)
    with pytest.raises(StoreError, match=FULL):
        markdown(figures)
