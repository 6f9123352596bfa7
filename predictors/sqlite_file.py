"""A SQLite file of measurements: made or recognised, read beside its writers, never torn."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from emnas_gym.errors import StoreError


class SqliteFile:
    """What the stores of measurements share; each adds its tables and what may be asked of them.

    Args:
        path: The file; made if there is none.

    Raises:
        StoreError: If the file cannot be opened, is locked, damaged, or something else.
    """

    SCHEMA: ClassVar[str]  # makes the tables where there are none
    SIGN: ClassVar[str]  # the table by which a file is known as one of these
    WHAT: ClassVar[str]  # what the file is called in errors
    MADE_BY: ClassVar[str]  # the command that makes one
    WAIT_SECONDS: ClassVar[float] = 5.0  # until another writer has finished its commit

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path, timeout=self.WAIT_SECONDS, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{path}: cannot be opened: {error}") from error
        with self._closed_on_error(), self._guard():
            self._db.execute("PRAGMA journal_mode=WAL")
            tables = {name for (name,) in self._db.execute("SELECT name FROM sqlite_master")}
            if tables and self.SIGN not in tables:
                raise StoreError(
                    f"{path}: is a database, but no {self.WHAT} of ours; give another --out"
                )
            self._db.executescript(self.SCHEMA)

    @classmethod
    def reading(cls, path: Path) -> Self:
        """Opens a file to read it, also while others write it.

        Raises:
            StoreError: If there is none, or it is damaged.
        """
        if not path.is_file():
            raise StoreError(f"{path}: there is no {cls.WHAT}; `{cls.MADE_BY}` makes one")
        store = cls.__new__(cls)
        store.path = path
        uri = f"{path.absolute().as_uri()}?mode=ro"
        try:
            store._db = sqlite3.connect(
                uri, timeout=cls.WAIT_SECONDS, uri=True, isolation_level=None
            )
            store._db.execute(f"SELECT * FROM {cls.SIGN} LIMIT 1").fetchone()
        except sqlite3.DatabaseError as error:
            raise StoreError(f"{path}: no {cls.WHAT} of ours, or damaged: {error}") from error
        return store

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        try:
            yield
        except StoreError:
            self._db.close()
            raise

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Says of which file the database complains, and what to do."""
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StoreError(f"{self.path}: {error}; is another process writing it?") from error
        except (sqlite3.Error, ValueError) as error:
            raise StoreError(f"{self.path}: no {self.WHAT} of ours, or damaged: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """One commit that no other writer comes between."""
        with self._guard():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    def __enter__(self) -> Self:
        """Opens nothing further."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the file."""
        self._db.close()
