"""Files of tables: they read back as they were, and nothing in one is trusted."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from table_worlds import OPERATIONS, small_table

from emnas_gym import table_columns, table_file
from emnas_gym.array_file import write_arrays
from emnas_gym.errors import TableFileError
from emnas_gym.table import Metric, Table
from emnas_gym.table_columns import header_of
from emnas_gym.table_file import MARK, read_table, write_table
from emnas_gym.tasks import Task

SUFFIXES = ("npz", "csv", "parquet")
GOOD = "op/a,op/b,valid/acc\nx,u,0.1\nx,v,0.2\ny,u,0.3\ny,v,0.4\n"


def _same(one: Table, other: Table) -> bool:
    """By every value, not by the checksum."""
    costs = [np.array_equal(one.costs[n], other.costs[n], equal_nan=True) for n in one.costs]
    return (
        header_of(one) == header_of(other)
        and np.array_equal(one.choices, other.choices)
        and np.array_equal(one.first_of_class, other.first_of_class)
        and list(one.metrics) == list(other.metrics)
        and all(_same_metric(one.metrics[n], other.metrics[n]) for n in one.metrics)
        and set(one.costs) == set(other.costs)
        and all(costs)
    )


def _same_metric(one: Metric, other: Metric) -> bool:
    none = np.zeros(0)
    seconds = [none if metric.seconds is None else metric.seconds for metric in (one, other)]
    pairs = ((one.valid, other.valid), (one.test, other.test), seconds)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("incomplete", [False, True])
def test_a_table_reads_back_as_it_was(suffix: str, incomplete: bool, tmp_path: Path) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow", reason="needs pyarrow")
    table = small_table(incomplete)
    write_table(table, tmp_path / f"t.{suffix}")
    again = read_table(tmp_path / f"t.{suffix}")
    assert _same(table, again)
    assert again.checksum == table.checksum
    assert replace(table, name="other").checksum != table.checksum


characters = st.characters(exclude_categories=("Cs", "Cc", "Z"), exclude_characters="/")
names = st.text(characters, min_size=1, max_size=9)
some = st.lists(names, min_size=1, max_size=3, unique=True)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    operations = {position: tuple(draw(some)) for position in draw(some)}
    cells = list(np.ndindex(*(len(ops) for ops in operations.values())))
    share = st.floats(0, 1)
    trials = draw(st.integers(1, 3))
    column = st.lists(share, min_size=len(cells), max_size=len(cells))
    valid = np.array([draw(column) for _ in range(trials)]).T
    cost = st.one_of(st.just(float("nan")), st.floats(0, 1e300))
    latency = np.array(draw(st.lists(cost, min_size=len(cells), max_size=len(cells))))
    labels = draw(st.lists(st.integers(0, 3), min_size=len(cells), max_size=len(cells)))
    return Table(
        draw(names), Task(draw(names), (1, 2, 3), 4, False), operations, np.array(cells),
        {draw(names): Metric(valid, np.zeros((len(cells), 0)))}, {"latency_ms/x": latency},
        np.array(labels),
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(table=tables(), suffix=st.sampled_from(("npz", "csv")))
def test_any_table_reads_back(table: Table, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"t.{suffix}"
        write_table(table, path)
        assert _same(table, read_table(path))


@settings(max_examples=150, deadline=None)
@given(data=st.data(), suffix=st.sampled_from(("npz", "csv")))
def test_damaged_files_are_errors_of_ours(data: st.DataObject, suffix: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"t.{suffix}"
        write_table(small_table(), path)
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
        try:
            read_table(path)
        except TableFileError as error:
            assert str(path) in str(error)


def test_a_cut_parquet_file_is_an_error_of_ours(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs pyarrow")
    path = tmp_path / "t.parquet"
    write_table(small_table(), path)
    whole = path.read_bytes()
    for size in (0, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(TableFileError, match=r"t\.parquet"):
            read_table(path)


def _csv(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "cells.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_csv_needs_no_header(tmp_path: Path) -> None:
    table = read_table(_csv(tmp_path, GOOD))
    assert (table.name, table.task.name) == ("cells", "cells")
    assert table.operations == {"a": ("x", "y"), "b": ("u", "v")}
    assert table.metrics["acc"].valid[:, 0].tolist() == [0.1, 0.2, 0.3, 0.4]


BAD = {
    "missing cell": (GOOD.replace("y,u,0.3\n", ""), r"1 of 4 .*missing.*a = y, b = u"),
    "duplicate": (GOOD + "x,v,0.5\n", "line 6: the same architecture as line 3"),
    "not finite": (GOOD.replace("0.3", "inf"), "line 4: valid/acc = 'inf'"),
    "no number": (GOOD.replace("0.3", "a lot"), "line 4: valid/acc = 'a lot'"),
    "nan": (GOOD.replace("0.3", "nan"), "line 4"),
    "gap": (GOOD.replace("0.3", ""), "line 4: valid/acc .* only costs may have gaps"),
    "percent": (GOOD.replace("0.3", "30"), "line 4: valid/acc = 30 .* percent"),
    "negative": (GOOD.replace("0.3", "-0.3"), "line 4: valid/acc = -0.3"),
    "short line": (GOOD.replace("y,u,0.3", "y,u"), "line 4: 2 values for 3 columns"),
    "typo": (GOOD.replace("valid/acc", "vaild/acc"), "vaild.*did you mean valid"),
    "field": (GOOD.replace("op/b,v", "op/b,cost/latency,v").replace(",0.", ",1,0."), "latency_ms"),
    "no signal": (GOOD.replace("valid/acc", "cost/macs"), "no column valid/METRIC"),
    "stray test": (GOOD.replace("valid/acc", "test/acc"), "no column valid/METRIC"),
    "twice": (GOOD.replace("op/b", "op/a"), "two columns 'op/a'"),
    "empty": ("", "holds no architecture"),
    "head alone": (GOOD.splitlines()[0], "holds no architecture"),
    "header": (MARK + " {\n" + GOOD, "header is not JSON"),
    "header list": (MARK + " [1]\n" + GOOD, "object of JSON"),
    "header key": (MARK + ' {"nmae": "x"}\n' + GOOD, "'nmae'.*did you mean name"),
    "operation": (MARK + ' {"operations": {"a": ["x", "z"]}}\n' + GOOD, r"line 5: op/a .* 'y'"),
    "position": (MARK + ' {"operations": {"c": ["x"]}}\n' + GOOD, "no column op/c"),
    "quote": ('op/a,valid/acc\n"x,0.1\n', "line "),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_named_with_its_line(case: str, tmp_path: Path) -> None:
    text, message = BAD[case]
    with pytest.raises(TableFileError, match=message):
        read_table(_csv(tmp_path, text))


def test_missing_architectures_may_be_announced(tmp_path: Path) -> None:
    text = MARK + ' {"incomplete": true}\n' + GOOD.replace("y,u,0.3\n", "")
    assert len(read_table(_csv(tmp_path, text))) == 3


def test_gaps_are_for_costs_alone(tmp_path: Path) -> None:
    text = GOOD.replace("valid/acc", "valid/acc,cost/latency_ms/board")
    lines = [
        line + end for line, end in zip(text.split(), ("", ",1", ",", ",3", ",4"), strict=True)
    ]
    costs = read_table(_csv(tmp_path, "\n".join(lines))).costs["latency_ms/board"]
    assert np.isnan(costs).tolist() == [False, True, False, False]
    lines[2] = lines[2] + "-1"
    with pytest.raises(TableFileError, match="line 3: .*leave empty what was not measured"):
        read_table(_csv(tmp_path, "\n".join(lines)))


def test_sizes_are_bounded_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _csv(tmp_path, GOOD)
    monkeypatch.setattr(table_file, "MAX_CSV_BYTES", 10)
    with pytest.raises(TableFileError, match="bytes are more than 10"):
        read_table(path)
    monkeypatch.undo()
    monkeypatch.setattr(table_file, "MAX_ROWS", 2)
    with pytest.raises(TableFileError, match="rows"):
        read_table(path)
    monkeypatch.undo()
    monkeypatch.setattr(table_columns, "MAX_OPERATIONS", 1)
    with pytest.raises(TableFileError, match="names of operations"):
        read_table(path)


@pytest.mark.parametrize("name", ["absent.npz", "cells.xlsx"])
def test_a_file_that_cannot_be_a_table(name: str, tmp_path: Path) -> None:
    with pytest.raises(TableFileError, match=name):
        read_table(tmp_path / name)


def test_an_npz_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    path.write_bytes(write_arrays({"x": np.zeros(3)}))
    with pytest.raises(TableFileError, match="no header"):
        read_table(path)
    header = np.frombuffer(json.dumps(header_of(small_table())).encode(), dtype=np.uint8)
    path.write_bytes(write_arrays({"header": header, "op/first": np.zeros((2, 2), dtype=np.uint8)}))
    with pytest.raises(TableFileError, match="shape"):
        read_table(path)
    columns = {f"op/{p}": np.full(2, 9, dtype=np.uint8) for p in OPERATIONS}
    path.write_bytes(write_arrays({"header": header, **columns, "valid/acc": np.zeros(2)}))
    with pytest.raises(TableFileError, match="row 0: op/first has no operation"):
        read_table(path)
