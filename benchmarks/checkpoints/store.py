"""The outcomes of a protocol's runs in one SQLite file: written as they come, one writer."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from benchmarks.checkpoints.one_run import Outcome
from emnas_gym.errors import StoreError
from emnas_gym.ownership import Ownership

SCHEMA = """CREATE TABLE IF NOT EXISTS runs (cell TEXT NOT NULL, seed INTEGER NOT NULL,
"values" TEXT NOT NULL, wall_s REAL NOT NULL, cpu_s REAL NOT NULL, PRIMARY KEY (cell, seed))
WITHOUT ROWID"""
MOST_VALUES = 10_000  # characters


class RunStore:
    """Keeps outcomes by cell and seed.

    A cell is everything that decides its runs but the seed, as text: other settings of an agent
    have a cell of their own, and nothing is ever mixed.

    Args:
        path: The file; made if there is none.

    Raises:
        StoreError: If another process writes it, or it is damaged or foreign.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._owner = path, Ownership(path)
        try:
            self._db = sqlite3.connect(path)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute(SCHEMA)
            self._db.execute('SELECT cell, seed, "values", wall_s, cpu_s FROM runs LIMIT 1')
        except sqlite3.Error as error:
            self._owner.release()
            raise StoreError(f"{path}: not a store of runs, or damaged: {error}") from error

    def outcomes(self, cell: str) -> list[Outcome]:
        """The runs of a cell by seed.

        Raises:
            StoreError: If the file is damaged.
        """
        try:
            rows = self._db.execute(
                'SELECT seed, "values", wall_s, cpu_s FROM runs WHERE cell = ? ORDER BY seed',
                (cell,),
            ).fetchall()
            return [Outcome(seed, _values(text), wall, cpu) for seed, text, wall, cpu in rows]
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise StoreError(f"{self.path} is damaged ({error}); remove it") from error

    def add(self, cell: str, outcomes: Iterable[Outcome]) -> None:
        """Stores runs.

        Raises:
            StoreError: If they cannot be written, e.g. on a full disk.
        """
        rows = [(cell, o.seed, json.dumps(o.values), o.wall_s, o.cpu_s) for o in outcomes]
        try:
            with self._db:
                self._db.executemany("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)", rows)
        except sqlite3.Error as error:
            raise StoreError(
                f"{self.path} cannot be written: {error}; make room, then the same command goes on"
            ) from error

    @property
    def finished(self) -> bool:
        """Whether all runs of a protocol were there once."""
        return bool(self._db.execute("PRAGMA user_version").fetchone()[0])

    def finish(self, whole: bool) -> None:
        """Notes whether all runs are there."""
        self._db.execute(f"PRAGMA user_version = {int(whole)}")

    def clear(self) -> None:
        """Forgets all runs."""
        with self._db:
            self._db.execute("DELETE FROM runs")
        self.finish(False)

    def close(self) -> None:
        """Closes the file and lets others have it."""
        self._db.close()
        self._owner.release()

    def __enter__(self) -> Self:
        """Opens nothing further."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the file."""
        self.close()


def _values(text: str) -> tuple[float, ...]:
    values = json.loads(text) if len(text) <= MOST_VALUES else None
    if not isinstance(values, list) or not all(type(one) is float for one in values):
        raise ValueError(f"no accuracies: {str(text)[:60]!r}")
    return tuple(values)
