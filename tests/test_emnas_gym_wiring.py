"""Graphs behind tables: live edges by hand, files that carry them, files that break their rules."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from table_worlds import small_table

from emnas_gym.errors import TableFileError
from emnas_gym.table_columns import header_of
from emnas_gym.table_file import read_table, write_table
from emnas_gym.wiring import MAX_WAYS, Wiring

CELL = Wiring(((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)), "none")
SMALL = Wiring(((0, 1), (0, 2), (1, 2)), "none")
GRAPH = {"edges": {"first": [0, 1], "second": [0, 2], "third": [1, 2]}, "dead": "none"}


def test_ways_of_a_cell_by_hand() -> None:
    assert CELL.ways == ((3,), (0, 4), (1, 5), (0, 2, 5))


def test_what_leads_nowhere_is_on_no_way() -> None:
    assert Wiring(((0, 1), (0, 2), (1, 3), (0, 3)), "none").ways == ((3,), (0, 2))


def test_live_edges_by_hand() -> None:
    dead = np.array([[0, 0, 0, 0, 0, 0], [1, 0, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]], dtype=bool)
    live = CELL.live(dead).astype(int).tolist()
    assert live == [[1, 1, 1, 1, 1, 1], [0, 1, 0, 1, 0, 1], [0, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize("edges", [((1, 0),), ((0, 64),), ((-1, 2),), ((0, 1), (2, 3)), ()])
def test_edges_lead_forwards_and_to_the_output(edges: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(TableFileError, match="graph"):
        Wiring(edges, "none")


def test_too_many_ways_are_refused_without_listing_them() -> None:
    double = tuple((node, node + 1) for node in range(30) for _ in range(2))
    with pytest.raises(TableFileError, match=f"1 to {MAX_WAYS:,}"):
        Wiring(double, "none")


@pytest.mark.parametrize("suffix", ["npz", "csv"])
def test_a_file_carries_the_graph(suffix: str, tmp_path: Path) -> None:
    table = replace(small_table(), wiring=SMALL)
    write_table(table, tmp_path / f"t.{suffix}")
    again = read_table(tmp_path / f"t.{suffix}")
    assert again.wiring == SMALL
    assert again.checksum == table.checksum != small_table().checksum
    assert "graph" not in header_of(small_table())


@pytest.mark.parametrize(
    "graph",
    [
        "cell",
        GRAPH | {"input": 0},
        GRAPH | {"dead": "nothing"},
        GRAPH | {"dead": ["none"]},
        GRAPH | {"edges": {"first": [0, 1]}},
        GRAPH | {"edges": GRAPH["edges"] | {"third": [1, 2.5]}},  # type: ignore[operator]
        GRAPH | {"edges": GRAPH["edges"] | {"third": [2, 1]}},  # type: ignore[operator]
    ],
    ids=str,
)
def test_a_broken_graph_is_refused(graph: Any, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    write_table(replace(small_table(), wiring=SMALL), path)
    first, rest = path.read_text(encoding="utf-8").split("\n", 1)
    header = json.loads(first.removeprefix("#emnas-table ")) | {"graph": graph}
    path.write_text(f"#emnas-table {json.dumps(header)}\n{rest}", encoding="utf-8")
    with pytest.raises(TableFileError, match="graph"):
        read_table(path)
