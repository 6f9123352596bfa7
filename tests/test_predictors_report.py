"""The report: every row says all that it must, and data that are missing are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from emnas_gym.errors import DatasetError, UnknownName
from emnas_gym.registry import import_string
from predictors import report as reporting
from predictors.cli import app
from predictors.report import ROWS, checked, report, report_table

runner = CliRunner()
ROW: dict[str, Any] = {
    "model": "sum of layers",
    "n_train": 90,
    "n_test": 10,
    "mae": 9.5,
    "mse": 120.0,
    "tau": 0.91,
    "spearman": 0.98,
    "within_10pct": 0.5,
    "baseline": {"mae": 141.0, "tau": None},
    "seed": {"mae": 125.655},
    "target": {"mae": 10, "tau": 0.93},
    "reached": False,
    "tau_ceiling": 0.95,
    "repeated": {"mae": [8.0, 9.0, 10.0], "how": "five splits"},
    "tried": {"sum": 11.0, "trees": 12.0},
    "evidence": {
        "if_calibrated": {"mae": 0.5, "mse": 0.25},
        "mae_interval": [1.0, 2.0, 3.0],
        "mse_interval": [4.0, 5.0, 6.0],
        "mse_of_the_three_worst": 3.5,
    },
}


def one() -> dict[str, Any]:
    return dict(ROW)


def two() -> dict[str, Any]:
    return {"pi": {**ROW, "reached": True}, "fpga": dict(ROW)}


def without_data() -> dict[str, Any]:
    raise DatasetError("nb201.npz is needed: set EMNAS_DATA")


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> None:
    here = "test_predictors_report"
    known = {"a": f"{here}:one", "b": f"{here}:two", "c": f"{here}:without_data"}
    monkeypatch.setattr(reporting, "ROWS", known)


def test_rows_come_alone_or_by_name_and_what_is_missing_is_told(rows: None) -> None:
    begun: list[str] = []
    found = report(begin=begun.append)
    assert begun == ["a", "b", "c"]
    assert set(found["rows"]) == {"a", "pi", "fpga"}
    assert found["left_out"] == {"c": "nb201.npz is needed: set EMNAS_DATA"}
    assert found["rows"]["a"]["mae"] == 9.5
    assert found["rows"]["a"]["seconds"] >= 0
    assert set(report(["b"])["rows"]) == {"pi", "fpga"}
    with pytest.raises(UnknownName, match="a"):
        report(["d"])


def test_a_row_that_hides_something_is_a_defect() -> None:
    for key in ("baseline", "target", "reached", "n_test"):
        with pytest.raises(ValueError, match=f"lacks {key}"):
            checked("a", {k: v for k, v in ROW.items() if k != key})


def test_the_command_prints_one_object_or_a_table(rows: None) -> None:
    result = runner.invoke(app, ["report", "a", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["rows"]["a"]["target"] == {"mae": 10, "tau": 0.93}
    table = runner.invoke(app, ["report"], env={"COLUMNS": "200"})
    for text in ("9.5", "median 141", "seed 125.7", "to reach 10", "no", "yes", "EMNAS_DATA"):
        assert text in table.stdout, text
    assert report_table(report(["a"])).row_count == 1


def test_the_page_says_what_the_figures_say(rows: None, tmp_path: Path) -> None:
    result = runner.invoke(app, ["report", "--json", "--out", str(tmp_path)])
    assert json.loads((tmp_path / "estimators.json").read_text()) == json.loads(result.stdout)
    page = (tmp_path / "estimators.md").read_text(encoding="utf-8")
    assert "| a | MAE ≤ 10, τ ≥ 0.93 | MAE 9.5, τ 0.91 | **no** |" in page
    assert "| pi | MAE ≤ 10, τ ≥ 0.93 | MAE 9.5, τ 0.91 | yes |" in page
    assert "| original | 125.7 | – | – | – | – |" in page
    assert "| repeated | 9 (8 … 10) | – | – | – | – |" in page
    assert "ceiling of τ 0.95" in page
    assert "sum 11; trees 12" in page
    assert "over the test rows: MAE 2 (1 … 3), MSE 5 (4 … 6); three of them make 3.5" in page
    assert "it would leave MAE 0.5, MSE 0.25." in page
    assert "Left out: nb201.npz is needed" in page


def test_what_was_asked_for_is_there() -> None:
    expected = "sipeed jevois accuracy_fixed accuracy_variable dataset_7 own_table hwnasbench"
    assert {*expected.split(), "nb201_c100"} == set(ROWS)
    assert all(callable(import_string(path)) for path in ROWS.values())
