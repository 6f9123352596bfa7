"""``python -m benchmarks lenna``: the commands from end to end, small."""

from __future__ import annotations

import csv
import json
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.lenna.datasets import data_sets, find_data_set
from benchmarks.lenna.fitting import Compared, alone_of, compare_all
from benchmarks.lenna.study import RULES, StudyPlan, study
from emnas_gym.errors import DatasetError, StoreError, UnknownName
from predictors.estimators.files import load
from predictors.lenna.columns import COLUMNS
from predictors.lenna.network_file import load_network
from predictors.lenna.row_store import BlockRows, RowStore
from predictors.unfinished import Unfinished


def run(*words: str) -> Any:
    """The one JSON object that a command prints."""
    done = CliRunner().invoke(app, ["lenna", *words, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def collected(path: Path, rows: int, *words: str) -> Any:
    return run("collect", "--out", str(path), "--rows", str(rows), "--half-width", "0.1", *words)


def test_rows_are_collected_and_written_as_csv(tmp_path: Path) -> None:  # G7, G15
    path, table = tmp_path / "rows.sqlite", tmp_path / "rows.csv"
    first = collected(path, 4, "--channels", "8,16")
    assert (first["rows"], first["failed"]) == (4, 0)
    more = collected(path, 9, "--channels", "8,16", "--csv", str(table), "--workers", "2")
    assert more["rows"] == 9
    with table.open(encoding="utf-8") as file:
        header, *lines = list(csv.reader(file))
    assert header == [*COLUMNS, "latency_us"] and len(lines) == 9
    assert {float(line[1]) for line in lines} <= {8.0, 16.0}
    with pytest.raises(StoreError, match="another environment: draw"):
        collected(path, 12, "--channels", "8,32")
    with pytest.raises(StoreError, match="another environment: stop"):
        collected(path, 12, "--channels", "8,16", "--rule", "documented")
    for channels in ("x", "5-", "0-4", "2000", ""):
        with pytest.raises(DatasetError):
            collected(tmp_path / "none.sqlite", 1, "--channels", channels)
    with pytest.raises(UnknownName, match="simulated"):
        collected(tmp_path / "none.sqlite", 1, "--backend", "simulatedd")


@pytest.mark.slow
def test_rows_that_failed_are_measured_again_when_asked(tmp_path: Path) -> None:  # G4
    path = tmp_path / "rows.sqlite"
    collected(path, 2)
    with RowStore.reading(path) as store:
        environment = store.environment()
    with sqlite3.connect(path) as db:
        db.execute('DELETE FROM rows WHERE "row" = 1')
        db.execute("INSERT INTO failures VALUES (1, 0.0, 900.0, 'out of memory')")
    again = collected(path, 3)
    assert (again["rows"], again["failed"]) == (2, 1)
    assert again["failures"][0]["reason"] == "out of memory"
    assert collected(path, 3, "--retry")["rows"] == 3
    with RowStore(path, environment) as store:
        assert store.count() == (3, 0)


@pytest.mark.slow
def test_the_study_holds_rules_against_the_truth() -> None:  # G9, G10
    found = study(StudyPlan(seeds=10, blocks=8, resets=100))
    assert list(found["rules"]) == list(RULES)
    ours, theirs = found["rules"]["interval"], found["rules"]["documented"]
    assert ours["noise"][2] <= 0.015, "the upper end of its interval over ten seeds"
    assert theirs["noise"][0] > 2 * ours["noise"][2]
    independent = found["rules"]["interval, independent"]
    assert independent["median_resets"][0] > 1.5 * ours["median_resets"][2]
    runs = {name: figures["mean"] for name, figures in found["runs"].items()}
    assert list(runs) == ["50", "40", "30", "20", "10", "5"]
    assert runs["5"] > 1.2 * runs["50"], "fewer runs lie farther from the trimmed mean"


def test_the_study_writes_page_pictures_and_figures(tmp_path: Path) -> None:  # G12
    pytest.importorskip("matplotlib")
    printed = run("study", "--seeds", "2", "--blocks", "3", "--publish", str(tmp_path))
    page = (tmp_path / "lenna.md").read_text(encoding="utf-8")
    kept = json.loads((tmp_path / "lenna.json").read_text(encoding="utf-8"))
    assert (
        kept["series"]["stops"]["documented"]["resets"]
        == (printed["series"]["stops"]["documented"]["resets"])
    )
    series = printed["series"]
    average = np.array(series["average_us"])
    np.testing.assert_allclose(
        np.array(series["cumulative_us"]) / np.arange(1, len(average) + 1), average
    )
    np.testing.assert_allclose(series["error"], np.abs(np.diff(average)) / average[1:])
    stop = series["stops"]["documented"]["resets"]
    assert (np.array(series["error"])[stop - 11 : stop - 1] < 0.01).all()
    assert "labels" not in kept["rules"]["interval"]
    for name in ("cumulative", "average", "error", "labels"):
        picture = tmp_path / "images" / "lenna" / f"{name}.png"
        assert picture.read_bytes().startswith(b"\x89PNG")
        assert f"images/lenna/{name}.png" in page
    assert "`python -m benchmarks lenna study --publish docs` makes this" in page


@pytest.mark.slow
def test_predictors_are_fitted_compared_and_saved(tmp_path: Path) -> None:  # G16, G17, G18
    path = tmp_path / "small.sqlite"
    collected(path, 60, "--channels", "4-32")
    found = run("fit", str(path), "--folds", "2", "--out", str(tmp_path / "out"))
    figures = found["small"]
    assert set(figures["splits"]) == {"random", "grouped"}
    assert figures["splits"]["random"]["alone"]["mape"][1] < 0.05, "the device is a serial one"
    folder = tmp_path / "out" / "predictors"
    with RowStore.reading(path) as store:
        rows = store.read()
    for kind in ("mlp", "graph"):
        network = load_network(folder / f"small_{kind}.network")
        assert network.about["rows"] == 60
        assert np.isfinite(network.predict(rows.x)).all()
    for kind in ("sum", "elastic"):
        assert load(folder / f"small_{kind}.predictor").model_ is not None
    page = (tmp_path / "out" / "lenna_predictors.md").read_text(encoding="utf-8")
    assert "## small" in page and not list((tmp_path / "out").glob("*.unfinished.json"))
    assert not [p for p in folder.iterdir() if b"\x80\x04" == p.read_bytes()[:2]], "no pickle"


def test_data_sets_have_names_and_rows_have_backends() -> None:
    assert set(data_sets(3000)) == {"serial", "fused", "groups", "torch", "litert", "npu"}
    with pytest.raises(UnknownName, match="serial"):
        find_data_set("seriall", 10)
    empty = np.zeros((3, 167))
    rows = BlockRows(empty, np.ones(3), np.ones(3), np.arange(3.0), {})
    with pytest.raises(DatasetError, match="which backend"):
        alone_of(rows)
    with pytest.raises(DatasetError, match="too few"):
        compare_all({"few": Compared("few", rows)}, 2, Unfinished(None, {}))
