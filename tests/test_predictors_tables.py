from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emnas_gym.errors import StoreError
from predictors.store import TableStore, Training
from predictors.tables import (
    MAX_BYTES,
    Table,
    pack,
    packed_path,
    read_header,
    read_store,
    restore,
    unpack,
)

IMAGES = (359, 360)
ABOUT = {"space": "abc", "task": "digits", "recipe": "{}"}
FIRST, SECOND, FAILED = (4, 4, 4, 382), (12, 1, 300, 36, 382), (7, 7, 7, 382)


def _training(tokens: tuple[int, ...], seed: int, hits: tuple[int, ...]) -> Training:
    curve = tuple(count / IMAGES[0] for count in hits)
    int8 = 319 / 360 if seed else None
    origin = "spread" if seed else "uniform-length"
    return Training(tokens, seed, origin, curve, 321 / 360, 1.25, int8)


@pytest.fixture
def table() -> Table:
    return Table(
        (
            _training(SECOND, 0, (36, 300)),
            _training(FIRST, 0, (1, 2)),
            _training(SECOND, 1, (0, 359)),
        ),
        {
            "host": {FIRST: {"latency_ms": 0.0123456789}},
            "ethos-u55-128": {
                FIRST: {"latency_ms": 0.1, "npu_cycles": 50_000.0},
                SECOND: {"latency_ms": 0.2, "npu_cycles": 100_001.0},
            },
        },
        ((FAILED, 0, "train", "the training loss is not finite"), (SECOND, 0, "host", "no")),
        {**ABOUT, "host": "a machine"},
    )


def test_packing_loses_nothing(table: Table, tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    pack(table, path, IMAGES, "the command")
    again = unpack(path)
    assert again == table
    header = read_header(path)
    assert header["command"] == "the command"
    assert header["versions"]["numpy"] == np.__version__
    assert header["about"]["recipe"] == "{}"


def test_from_a_store_and_back_into_one(table: Table, tmp_path: Path) -> None:
    with TableStore(tmp_path / "a.sqlite", ABOUT) as store:
        store.note("host", "a machine")
        store.add_trainings(table.trainings)
        for device, rows in table.costs.items():
            store.add_costs(device, rows.items())
        for failure in table.failures:
            store.add_failure(*failure)
        read = read_store(tmp_path / "a.sqlite")  # while it is open for writing
    assert read == table
    pack(read, tmp_path / "t.npz", IMAGES, "")
    with TableStore(tmp_path / "b.sqlite", ABOUT) as store:
        assert restore(tmp_path / "t.npz", store) == 3
        assert restore(tmp_path / "t.npz", store) == 3  # twice is once
        assert store.done() == {(SECOND, 0), (SECOND, 1), (FIRST, 0), (FAILED, 0)}
    assert read_store(tmp_path / "b.sqlite") == table


def test_restoring_into_a_store_of_something_else(table: Table, tmp_path: Path) -> None:
    pack(table, tmp_path / "t.npz", IMAGES, "")
    with (
        TableStore(tmp_path / "b.sqlite", ABOUT | {"recipe": '{"epochs": 3}'}) as store,
        pytest.raises(StoreError, match="recipe"),
    ):
        restore(tmp_path / "t.npz", store)


def test_accuracies_are_grouped_by_network(table: Table) -> None:
    assert table.networks == [SECOND, FIRST]
    assert table.accuracies() == {SECOND: [300 / 359, 1.0], FIRST: [2 / 359]}


def test_what_would_lose_something_is_refused(table: Table, tmp_path: Path) -> None:
    odd = replace(table.trainings[0], curve=(0.1, 0.5))  # no share of 359 images
    with pytest.raises(StoreError, match="does not read back"):
        pack(replace(table, trainings=(odd,)), tmp_path / "t.npz", IMAGES, "")
    with pytest.raises(StoreError, match="no trainings"):
        pack(Table((), {}, ()), tmp_path / "t.npz", IMAGES, "")


def test_a_damaged_file_is_refused(table: Table, tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    with pytest.raises(StoreError, match="no packed table"):
        unpack(path)
    pack(table, path, IMAGES, "")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    for read in (unpack, read_header):
        with pytest.raises(StoreError, match="no packed table"):
            read(path)
    np.savez(path, header=np.array('{"format": 99}'))
    with pytest.raises(StoreError, match="format 99"):
        unpack(path)
    with pytest.raises(StoreError, match="there is no table"):
        read_store(tmp_path / "none.sqlite")
    (tmp_path / "text.sqlite").write_text("not a database" * 100)
    with pytest.raises(StoreError, match="damaged"):
        read_store(tmp_path / "text.sqlite")


def test_a_changed_byte_is_an_error_of_ours_or_harmless(table: Table, tmp_path: Path) -> None:
    path = tmp_path / "t.npz"
    pack(table, path, IMAGES, "")
    content, places = path.read_bytes(), range(0, path.stat().st_size, 3)
    refused = {unpack: 0, read_header: 0}
    for place in places:
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x15]) + content[place + 1 :])
        for read in refused:
            try:
                read(path)
            except StoreError:
                refused[read] += 1
    assert refused[unpack] > len(places) / 2, "the rest are names and dates of the archive"
    assert 0 < refused[read_header] < refused[unpack], "it reads less"


def test_the_committed_table(space: object) -> None:
    path = packed_path("emnas-382", "digits")
    assert path.stat().st_size < MAX_BYTES
    table = unpack(path)
    assert len(table.networks) >= 1500
    lengths = {len(tokens) for tokens in table.networks}
    assert lengths == set(range(4, 16))
    seeds = [len(values) for values in table.accuracies().values()]
    assert sum(count >= 5 for count in seeds) >= 100
    assert table.about["space"] == space.fingerprint  # type: ignore[attr-defined]
