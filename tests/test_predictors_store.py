"""The table as a file: what goes in comes out, and files that are not ours are refused."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emnas_gym.errors import StoreError
from emnas_gym.history import History
from predictors.store import TableStore, Training

ABOUT = {"space": "0123456789ab", "task": "digits", "recipe": '{"epochs": 15}'}
ROWS = [
    Training((1, 2, 382), 0, "uniform-length", (0.1, 1 / 3), 0.25, 1.5),
    Training((1, 2, 382), 1, "spread", (0.5,), 0.75, 0.5, 0.625),
    Training((4, 382), 0, "spread", (), 1.0, 0.0),
]
shares = st.floats(0, 1)


@given(
    st.lists(
        st.builds(
            Training,
            st.lists(st.integers(1, 32767), min_size=1, max_size=32).map(tuple),
            st.integers(0, 99),
            st.sampled_from(["uniform-length", "spread"]),
            st.lists(shares, max_size=20).map(tuple),
            shares,
            st.floats(0, 1e4),
            st.none() | shares,
        ),
        unique_by=lambda row: (row.tokens, row.seed),
        max_size=8,
    )
)
def test_trainings_round_trip(rows: list[Training]) -> None:
    with TableStore(Path(":memory:"), ABOUT) as store:
        store.add_trainings(rows)
        assert list(store.trainings()) == rows
        assert store.done() == {(row.tokens, row.seed) for row in rows}


def test_a_file_of_before_int8_accuracies_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.sqlite"
    with TableStore(path, ABOUT) as store:
        store.add_trainings(ROWS)
        store._db.execute("DROP TABLE quantised")
        store._db.commit()
    with TableStore.reading(path) as old:
        assert [row.int8_accuracy for row in old.trainings()] == [None] * len(ROWS)
    with TableStore(path, ABOUT) as store:
        store.add_trainings([Training((5, 382), 0, "spread", (0.5,), 0.5, 1.0, 0.375)])
        assert [row.int8_accuracy for row in store.trainings()][-1] == 0.375


def test_a_training_without_an_int8_file_is_replaced_by_one_with_it() -> None:
    before = Training((5, 382), 0, "spread", (0.5,), 0.5, 1.0)
    again = Training((5, 382), 0, "spread", (0.625,), 0.25, 1.0, 0.375)
    later = Training((5, 382), 0, "spread", (0.75,), 0.75, 1.0, 0.875)
    with TableStore(Path(":memory:"), ABOUT) as store:
        store.add_trainings([before])
        assert store.done() == store.half_done() == {((5, 382), 0)}
        store.add_trainings([before])
        assert list(store.trainings()) == [before]
        store.add_trainings([again])
        assert list(store.trainings()) == [again]
        assert store.half_done() == set()
        store.add_trainings([later])
        assert list(store.trainings()) == [again], "what is whole stays"


def test_what_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "new" / "table.sqlite"
    with TableStore(path, ABOUT) as store:
        store.add_trainings(ROWS)
        store.add_trainings([Training((1, 2, 382), 0, "spread", (0.9,), 0.9, 9.0)])
        store.add_failure((7, 382), 3, "train", "the loss is not finite")
        store.add_failure((8, 382), 0, "host", "does not load")
        store.add_costs("host", [((4, 382), {"latency_ms": 0.5}), ((1, 2, 382), {"macs": 7.0})])
        store.add_costs("host", [((4, 382), {"latency_ms": 0.25})])
        store.note("host", "some machine")
    with TableStore(path, ABOUT) as store:
        assert list(store.trainings()) == ROWS
        trained = {(row.tokens, row.seed) for row in ROWS}
        assert store.done() == trained | {((7, 382), 3)}, "failures are not tried again"
        assert store.costs("host") == {(4, 382): {"latency_ms": 0.25}, (1, 2, 382): {"macs": 7.0}}
        assert store.costs("board") == {}
        assert store.failed("host") == {(8, 382)}


@pytest.mark.parametrize("key", sorted(ABOUT))
def test_a_table_of_something_else_is_refused(tmp_path: Path, key: str) -> None:
    path = tmp_path / "table.sqlite"
    with TableStore(path, ABOUT) as store:
        store.add_trainings(ROWS)
    with pytest.raises(StoreError, match=f"has {key} = .*, asked for 'other'; give another --out"):
        TableStore(path, ABOUT | {key: "other"})
    with TableStore(path, ABOUT) as store:
        assert list(store.trainings()) == ROWS


@pytest.mark.parametrize("damage", ["text", "cut", "a curve", "tokens"])
def test_a_damaged_file_is_a_store_error(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "table.sqlite"
    with TableStore(path, ABOUT) as store:
        store.add_trainings(ROWS)
    if damage == "text":
        path.write_text("some notes of mine\n" * 300)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:5000])
    else:
        column, value = ("curve", "[0.1, ") if damage == "a curve" else ("tokens", "one two")
        with sqlite3.connect(path) as database:
            database.execute(f"UPDATE trainings SET {column} = ? WHERE seed = 1", (value,))
    with pytest.raises(StoreError, match=r"table\.sqlite"):
        with TableStore(path, ABOUT) as store:
            list(store.trainings())
            store.done()


def test_a_history_is_no_table_and_a_table_no_history(tmp_path: Path) -> None:
    History(tmp_path / "history.sqlite").close()
    with pytest.raises(StoreError, match="no table of ours"):
        TableStore(tmp_path / "history.sqlite", ABOUT)
    TableStore(tmp_path / "table.sqlite", ABOUT).__exit__(None, None, None)
    with pytest.raises(StoreError, match="not a history"):
        History(tmp_path / "table.sqlite")


def test_a_place_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "table.sqlite", tmp_path):
        with pytest.raises(StoreError, match="cannot be opened"):
            TableStore(path, ABOUT)


WRITING = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
database.execute("DELETE FROM trainings")
print("writing", flush=True)
sys.stdin.readline()
"""


def test_a_file_that_another_process_writes_is_a_store_error(tmp_path: Path) -> None:
    """After waiting a while, both when it is opened and when a row is added."""
    path = tmp_path / "table.sqlite"
    with TableStore(path, ABOUT) as store:
        store.add_trainings(ROWS)
        store._db.execute("PRAGMA busy_timeout = 50")
        process = subprocess.Popen(
            [sys.executable, "-c", WRITING, path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "writing\n"
            with pytest.raises(StoreError, match="locked; is another process writing it"):
                store.add_trainings([Training((9, 382), 0, "spread", (), 0.0, 0.0)])
            with pytest.raises(StoreError, match="locked; is another process writing it"):
                TableStore(path, ABOUT)
        finally:
            process.kill()
            process.communicate()
        assert list(store.trainings()) == ROWS, "what was not committed never happened"
