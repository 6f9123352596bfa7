"""A table of latencies made unattended: resumable, and never half a row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from scripted_driver import SCRIPTS, Script

from emnas_gym.errors import EvaluationStopped, StoreError
from emnas_gym.ownership import Ownership
from emnas_gym.space import SearchSpace, load_space
from emnas_gym.tasks import DIGITS
from hardware.collect import BATCH, COLUMNS, collect_table
from hardware.errors import DeviceLost, DeviceRefused
from hardware.farm import Farm, Patience
from hardware.reading import Repeats

pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")


@pytest.fixture(autouse=True)
def scripts() -> Iterator[None]:
    yield
    SCRIPTS.clear()


def collect(path: Path, samples: int, script: Script, seed: int = 0) -> dict[str, Any]:
    SCRIPTS["board"] = script
    patience = Patience(rest_seconds=0.01, rests=1)
    farm = Farm(["[scripted_driver:ScriptedDriver]:board"], Repeats(3, 0), patience)
    space, quiet = load_space("emnas-382"), Console(file=io.StringIO())
    return collect_table(farm, space, DIGITS, samples, seed, path, quiet)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_so_many_rows_each_with_its_measurement(tmp_path: Path) -> None:  # E15
    path = tmp_path / "latencies.csv"
    facts = collect(path, 20, Script(ms=2.5))
    rows = rows_of(path)
    assert facts["rows"] == facts["measured_now"] == len(rows) == 20
    assert len({row["tokens"] for row in rows}) == 20
    assert all(tuple(row) == COLUMNS and float(row["latency_ms"]) == 2.5 for row in rows)
    assert all(int(row["macs"]) > 0 and row["provenance"] == "board" for row in rows)


def test_begun_again_it_measures_only_what_is_missing(tmp_path: Path) -> None:  # E15
    path, once = tmp_path / "latencies.csv", tmp_path / "once.csv"
    collect(path, 5, Script())
    more = Script()
    facts = collect(path, 12, more)
    assert (facts["rows"], facts["measured_now"]) == (12, 7)
    assert sum(more.asked.values()) == 7
    idle = Script()
    collect(path, 12, idle)
    assert idle.opened == 0
    collect(once, 12, Script())
    assert once.read_text() == path.read_text(), "in parts or at once, it is the same table"


def test_what_a_device_refuses_is_a_row_with_its_words(tmp_path: Path) -> None:
    def never(_: int) -> None:
        raise DeviceRefused("needs a larger arena")

    facts = collect(tmp_path / "t.csv", 3, Script(before=never))
    assert facts["failed"] == 3
    assert all("needs a larger arena" in row["error"] for row in rows_of(tmp_path / "t.csv"))


def test_a_device_that_dies_leaves_what_was_measured(tmp_path: Path) -> None:
    path, lives = tmp_path / "t.csv", iter([True] * 4)

    def dies(_: int) -> None:
        if not next(lives, False):
            raise DeviceLost("burnt")

    with pytest.raises(EvaluationStopped, match="mend a device"):
        collect(path, BATCH, Script(before=dies))
    assert len(rows_of(path)) == 4
    assert collect(path, BATCH, Script())["measured_now"] == BATCH - 4


def test_a_line_that_was_cut_off_is_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    collect(path, 6, Script())
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    assert collect(path, 6, Script())["measured_now"] == 1
    assert path.read_bytes() == whole


def test_another_table_and_another_program_are_left_alone(tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(StoreError, match="is another table"):
        collect(other, 3, Script())
    assert other.read_text() == "a,b\n1,2\n"
    mine = Ownership(tmp_path / "t.csv")
    with pytest.raises(StoreError, match="in use by another process"):
        collect(tmp_path / "t.csv", 3, Script())
    mine.release()


def test_more_networks_than_the_space_has(tiny: SearchSpace, tmp_path: Path) -> None:
    SCRIPTS["board"] = Script()
    farm = Farm(["[scripted_driver:ScriptedDriver]:board"], Repeats(3, 0))
    with pytest.raises(StoreError, match="no more than"):
        collect_table(farm, tiny, DIGITS, 10**6, 0, tmp_path / "t.csv", Console(file=io.StringIO()))
