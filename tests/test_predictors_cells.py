from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from data_files import needs

from emnas_gym.errors import DatasetError
from predictors.cells import tables
from predictors.cells.features import (
    cost_counts,
    counts,
    edge_encoding,
    kept_counts,
    path_encoding,
    way_statistics,
)
from predictors.cells.graphs import INPUT, OUTPUT, cell_graphs
from predictors.cells.splits import all_cells, isomorphism_safe, leaks
from predictors.cells.topology import (
    CONV3,
    EDGES,
    NONE,
    OPERATIONS,
    SKIP,
    active,
    adjacency,
    canonical,
    only,
    reached,
    used,
)

FILES = (tables.ACCURACIES, tables.LATENCIES)
EVERY = np.array(list(itertools.product(range(5), repeat=6)), dtype=np.int8)


def _ways(cell: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Every way from node 0 to node 3 as its edges, by walking."""
    found = []
    stack: list[tuple[int, tuple[int, ...]]] = [(0, ())]
    while stack:
        node, edges = stack.pop()
        if node == 3:
            found.append(edges)
        for edge, (source, target) in enumerate(EDGES):
            if source == node and cell[edge] != NONE:
                stack.append((target, (*edges, edge)))
    return found


@pytest.fixture(scope="module")
def some() -> np.ndarray:
    return EVERY[np.random.default_rng(0).choice(len(EVERY), 400, replace=False)]


def test_path_encoding_is_what_walking_finds(some: np.ndarray) -> None:
    encoded = path_encoding(some)
    assert encoded.shape == (400, 100)
    middle = {(3,): 0, (0, 4): 4, (1, 5): 20, (0, 2, 5): 36}  # first column of each way
    for cell, row in zip(some.tolist(), encoded, strict=True):
        expected = np.zeros(100)
        for way in _ways(tuple(cell)):
            number = 0
            for edge in way:
                number = number * 4 + cell[edge] - 1
            expected[middle[way] + number] = 1
        np.testing.assert_array_equal(row, expected)


def test_active_edges_are_those_on_a_way(some: np.ndarray) -> None:
    live = active(some)
    for cell, row in zip(some.tolist(), live, strict=True):
        on_ways = {edge for way in _ways(tuple(cell)) for edge in way}
        assert set(np.flatnonzero(row)) == on_ways
    assert (live == (reached(some) & used(some))).all()


def test_counts_and_statistics_by_hand() -> None:
    cell = np.array([[CONV3, 2, NONE, SKIP, 4, NONE]], dtype=np.int8)  # node 2 leads nowhere
    assert counts(cell).tolist() == [[1, 1, 1, 1]]
    raw, kept, reachable, live, dead = np.split(cost_counts(cell)[0], [4, 8, 12, 16])
    assert raw.tolist() == [1, 1, 1, 1] and kept.tolist() == [1, 0, 1, 1]
    assert reachable.tolist() == [1, 1, 1, 1] and live.tolist() == [1, 0, 1, 1]
    assert dead.tolist() == [1]
    assert only(cell, active(cell)).tolist() == [[CONV3, NONE, NONE, SKIP, 4, NONE]]
    assert edge_encoding(cell).sum() == 4
    assert kept_counts(cell)[0].tolist() == [1, 0, 1, 1, 1, 0, 0, 0]
    most3, least3 = way_statistics(cell)[0, :2]
    assert (most3, least3) == (1, 0)
    assert not way_statistics(np.zeros((1, 6), dtype=np.int8)).any()
    matrix = adjacency(cell)[0]
    assert matrix[0, 1] == CONV3 and matrix[1, 3] == 4 and not np.tril(matrix).any()


def test_statistics_do_not_depend_on_dead_edges(some: np.ndarray) -> None:
    np.testing.assert_array_equal(way_statistics(some), way_statistics(only(some, active(some))))


def test_graphs_of_cells_are_their_edges(some: np.ndarray) -> None:
    graphs = cell_graphs(some)
    for cell, reads in zip(some.tolist(), graphs.reads, strict=True):
        ways = 0  # walks from output to input, along what each node reads
        stack = [OUTPUT]
        while stack:
            node = stack.pop()
            ways += node == INPUT
            stack.extend(np.flatnonzero(reads[node]).tolist())
        assert ways == len(_ways(tuple(cell)))


def test_classes_are_those_of_the_benchmark() -> None:
    needs(*FILES)
    cells = tables.read_cells()
    names = [canonical(cell) for cell in cells.operations.tolist()]
    assert len(set(names)) == len(cells.representatives) == 6466
    assert len(set(zip(names, cells.classes.tolist(), strict=True))) == 6466


def test_no_class_is_on_both_sides() -> None:
    needs(*FILES)
    cells = tables.read_cells()
    for seed in range(5):
        train, test = isomorphism_safe(cells.classes, 900, np.random.default_rng(seed))
        rest = all_cells(cells.classes, train)
        trained = {canonical(cell) for cell in cells.operations[train].tolist()}
        for held in (test, rest):
            tested = {canonical(cell) for cell in cells.operations[held].tolist()}
            assert not trained & tested and leaks(cells.classes, train, held) == 0
        assert len(train) == len(trained) == 900 and len(test) == 6466 - 900
        assert set(test) < set(rest)
    careless = np.random.default_rng(0).permutation(len(cells.classes))
    assert leaks(cells.classes, careless[:900], careless[900:]) > 1000
    with pytest.raises(ValueError, match="6466 classes"):
        isomorphism_safe(cells.classes, 6466, np.random.default_rng(0))


def test_tables_hold_what_they_say() -> None:
    needs(*FILES)
    for device in tables.DEVICES:
        assert tables.read_latencies(device).shape == (tables.CELLS,)
    accuracy = tables.read_accuracies()
    assert 0.7 < accuracy.max() < 0.75
    assert (
        tables.read_cells().macs.argmax()
        == (tables.read_cells().operations == CONV3).all(axis=1).argmax()
    )
    with pytest.raises(DatasetError, match="lacks the column nonsense"):
        tables.read_accuracies("nonsense")
    with pytest.raises(DatasetError, match="arch_str is not 15625 numbers"):
        tables.read_accuracies("arch_str")


def _good() -> dict[str, np.ndarray]:
    columns = {f"op{edge}": EVERY[:, edge] for edge in range(6)}
    ones = np.ones(len(EVERY), dtype=np.float32)
    return {**columns, "iso_rep": np.arange(len(EVERY)), "params_m_c10": ones, "flops_m_c10": ones}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, "is not a table of cells"),
        ({"op3": np.full(len(EVERY), 5, dtype=np.int8)}, "numbers 0 … 4"),
        ({"op0": EVERY[:, 1]}, "holds a cell twice"),
        ({"iso_rep": np.zeros(len(EVERY)) - 1}, "iso_rep"),
        ({"op1": EVERY[:7, 0]}, "op1 is not 15625 numbers"),
        ({"params_m_c10": np.full(len(EVERY), np.nan)}, "not finite"),
        ({"iso_rep": np.array([None] * len(EVERY))}, "is not a table of cells"),
    ],
)
def test_damaged_tables_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, np.ndarray], says: str
) -> None:
    monkeypatch.setenv("EMNAS_DATA", str(tmp_path))
    path = tmp_path / tables.ACCURACIES
    path.parent.mkdir()
    np.savez_compressed(path, **{**_good(), **change})
    tables.read_cells.cache_clear()
    try:
        if not change:  # the whole file is read, a truncated one is not
            assert len(tables.read_cells().operations) == len(OPERATIONS) ** 6
            path.write_bytes(path.read_bytes()[:5000])
            tables.read_cells.cache_clear()
        with pytest.raises(DatasetError, match=says):
            tables.read_cells()
    finally:
        tables.read_cells.cache_clear()
