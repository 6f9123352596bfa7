"""LENNA's data as SQLite: 167 columns and a latency a row, many writers, safe against ``kill -9``.

The file is one table that any tool opens: ``SELECT * FROM rows``. Each row is one commit, so that a
killed writer loses at most what it is measuring. A writer first claims rows, so that others measure
others; claims of a process that is gone count for nothing.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emnas_gym.errors import StoreError
from predictors.lenna.columns import COLUMNS, TARGET
from predictors.lenna.drawing import DrawnRow
from predictors.lenna.gates import Array
from predictors.lenna.measure import Measured
from predictors.lenna.writers import is_alive, writer_of
from predictors.sqlite_file import SqliteFile

NUMBERS = ", ".join(f'"{name}" REAL NOT NULL' for name in (*COLUMNS, TARGET))
SCHEMA = f"""
BEGIN;
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS rows ("row" INTEGER PRIMARY KEY, {NUMBERS},
    ratio REAL NOT NULL, resets INTEGER NOT NULL, settled INTEGER NOT NULL, seconds REAL NOT NULL);
CREATE TABLE IF NOT EXISTS failures ("row" INTEGER PRIMARY KEY, b_type REAL NOT NULL,
    in_ch REAL NOT NULL, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS claims ("row" INTEGER PRIMARY KEY, writer TEXT NOT NULL,
    begun INTEGER NOT NULL);
COMMIT;
"""
EXTRA = 4  # columns behind the latency: ratio, resets, settled, seconds


@dataclass(frozen=True)
class BlockRows:
    """Measured rows.

    Attributes:
        x: The 167 columns, shape (N, 167).
        latency_us: Shape (N,).
        resets: Resets of the gates that each took, shape (N,).
        index: Numbers of the rows, shape (N,).
        environment: Where and how they were measured.
    """

    x: Array
    latency_us: Array
    resets: Array
    index: Array
    environment: Mapping[str, Any]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.x)


class RowStore(SqliteFile):
    """A SQLite file of rows that were measured in one environment.

    Args:
        path: The file; made if there is none.
        environment: Where and how rows are measured; a file of another one is refused.

    Raises:
        StoreError: If the file is locked, damaged, no such table, or of another environment.
    """

    SCHEMA = SCHEMA
    SIGN = "rows"
    WHAT = "file of rows"
    MADE_BY = "benchmarks lenna collect"
    WAIT_SECONDS = 60.0
    writer = ""  # of one that only reads

    def __init__(self, path: Path, environment: Mapping[str, Any]) -> None:
        self.writer = writer_of(os.getpid())
        super().__init__(path)
        asked = {key: json.dumps(value, sort_keys=True) for key, value in environment.items()}
        with self._closed_on_error(), self._transaction():
            known = dict(self._db.execute("SELECT key, value FROM about"))
            if not known:
                self._db.executemany("INSERT INTO about VALUES (?, ?)", asked.items())
            elif known != asked:
                raise StoreError(f"{path}: {_difference(known, asked)}")

    # ------------------------------------------------------------------------------------ writing

    def claim(self, total: int, most: int) -> list[int]:
        """Takes rows that nobody has measured or is about to.

        Args:
            total: Number of rows that there are to be.
            most: At most so many.

        Returns:
            Their numbers, the least ones; none if all are done or taken.
        """
        with self._transaction():
            for row, writer in self._db.execute('SELECT "row", writer FROM claims').fetchall():
                if not is_alive(writer):
                    self._db.execute('DELETE FROM claims WHERE "row" = ?', (row,))
            query = 'SELECT "row" FROM rows UNION SELECT "row" FROM failures UNION '
            taken = {row for (row,) in self._db.execute(query + 'SELECT "row" FROM claims')}
            free = [row for row in range(total) if row not in taken][:most]
            values = [(row, self.writer) for row in free]
            self._db.executemany("INSERT INTO claims VALUES (?, ?, 0)", values)
        return free

    def begin(self, row: int) -> None:
        """Notes that a claimed row is being measured."""
        with self._transaction():
            self._db.execute('UPDATE claims SET begun = 1 WHERE "row" = ?', (row,))

    def add(self, drawn: DrawnRow, measured: Measured, seconds: float) -> None:
        """Stores a row in one commit; one that is there already stays."""
        extra = (drawn.ratio, measured.resets, measured.settled, seconds)
        values = (drawn.index, *drawn.row.tolist(), measured.latency_us, *extra)
        marks = ", ".join("?" * len(values))
        with self._transaction():
            self._db.execute(f"INSERT OR IGNORE INTO rows VALUES ({marks})", values)
            self._db.execute('DELETE FROM claims WHERE "row" = ?', (drawn.index,))

    def fail(self, drawn: DrawnRow, reason: str) -> None:
        """Stores that a row could not be measured, and why; the others go on."""
        values = (drawn.index, float(not drawn.reduction), float(drawn.channels), reason)
        with self._transaction():
            self._db.execute("INSERT OR IGNORE INTO failures VALUES (?, ?, ?, ?)", values)
            self._db.execute('DELETE FROM claims WHERE "row" = ?', (drawn.index,))

    def begun_by(self, writer: str) -> list[int]:
        """Rows that a process was measuring when it ended."""
        query = 'SELECT "row" FROM claims WHERE writer = ? AND begun = 1'
        with self._guard():
            return [row for (row,) in self._db.execute(query, (writer,))]

    def forget_failures(self) -> int:
        """Lets rows that failed be measured again; returns how many there were."""
        with self._transaction():
            return self._db.execute("DELETE FROM failures").rowcount

    # ------------------------------------------------------------------------------------ reading

    def count(self) -> tuple[int, int]:
        """Rows that were measured, and rows that failed."""
        with self._guard():
            (rows,) = self._db.execute("SELECT count(*) FROM rows").fetchone()
            (failures,) = self._db.execute("SELECT count(*) FROM failures").fetchone()
        return int(rows), int(failures)

    def failures(self) -> list[tuple[int, float, float, str]]:
        """Number, type, channels and reason of every row that could not be measured."""
        with self._guard():
            return list(self._db.execute('SELECT * FROM failures ORDER BY "row"'))

    def environment(self) -> dict[str, Any]:
        """Where and how rows were measured."""
        with self._guard():
            about = self._db.execute("SELECT key, value FROM about ORDER BY key")
            return {key: json.loads(value) for key, value in about}

    def read(self) -> BlockRows:
        """All rows, by their numbers.

        Raises:
            StoreError: If the file is damaged.
        """
        with self._guard():
            rows = self._db.execute('SELECT * FROM rows ORDER BY "row"').fetchall()
            table = np.array(rows, dtype=np.float64).reshape(len(rows), 2 + len(COLUMNS) + EXTRA)
        width = len(COLUMNS)
        return BlockRows(
            table[:, 1 : 1 + width],
            table[:, 1 + width],
            table[:, 3 + width],
            table[:, 0],
            self.environment(),
        )

    def export_csv(self, path: Path) -> int:
        """Writes the 167 columns and the latency as a CSV file; returns the number of rows."""
        rows = self.read()
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([*COLUMNS, TARGET])
            for x, latency_us in zip(rows.x.tolist(), rows.latency_us.tolist(), strict=True):
                writer.writerow([*x, latency_us])
        return len(rows)


def _difference(known: Mapping[str, str], asked: Mapping[str, str]) -> str:
    """What two environments differ in, and what to do."""
    keys = sorted(k for k in {*known, *asked} if known.get(k) != asked.get(k))
    told = "; ".join(f"{k} = {known.get(k)} there, {asked.get(k)} asked for" for k in keys)
    return f"measured in another environment: {told}. Rows are never mixed: give another --out"
