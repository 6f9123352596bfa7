"""Histories as evidence: read from a copy, beside a search that still writes, nothing executed."""

from __future__ import annotations

import math
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.replay.record import MAX_BYTES, MAX_TOKENS, Reader
from emnas_gym.errors import StoreError
from emnas_gym.history import History, Row
from emnas_gym.ledger import WHOLE

HISTORY = "history.sqlite"
MAX_CHARGED = 1e9  # evaluations


def beside(folder: Path) -> Path | None:
    """The history of a run in its folder; None where there is none."""
    path = folder / HISTORY
    return path if path.is_file() else None


def rests_on(history: Path | None) -> Mapping[str, Any]:
    """What the evaluator of a history rested on; nothing where there is none."""
    if history is None:
        return {}
    return Reader(history).table(read_history(history)[0].get("rests_on", {}), "rests_on")


def read_history(path: Path) -> tuple[dict[str, Any], Sequence[Row]]:
    """What a run was of, and its evaluations in order.

    Raises:
        StoreError: If it is no history, or damaged.
    """
    with history_copy(path) as copy, _named(path, copy):
        history = History(copy)
        try:
            return history.about(), [_checked(path, row) for row in history.rows()]
        finally:
            history.close()


def spent_on_training(copy: Path) -> int:
    """Evaluations that a history was charged for training beside them, a part counted whole.

    Args:
        copy: A history that nobody else has open.

    Raises:
        StoreError: If it is no history, or damaged.
    """
    history = History(copy)
    try:
        charged = math.fsum(charge.equivalents for charge in history.charges())
    except (TypeError, OverflowError) as error:
        raise StoreError(f"{copy}: damaged: a charge is no number") from error
    finally:
        history.close()
    if not 0 <= charged < MAX_CHARGED:
        raise StoreError(f"{copy}: damaged: {charged!r} was charged")
    return math.ceil(charged - WHOLE)


def _checked(path: Path, row: Row) -> Row:
    """A column of SQLite holds what it was given, whatever its type says."""
    if not isinstance(row.reward, float) or not math.isfinite(row.reward):
        raise StoreError(f"{path}: damaged: {row.reward!r} is no reward")
    if not 0 < len(row.tokens) <= MAX_TOKENS:
        raise StoreError(f"{path}: damaged: {len(row.tokens)} tokens are no network")
    return row


@contextmanager
def history_copy(path: Path) -> Iterator[Path]:
    """A history to be read, beside a search that still writes it; the original is not touched.

    Raises:
        StoreError: If it cannot be read, or is a database that does more than hold rows.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        try:
            for suffix in ("", "-wal"):  # what a killed run has committed may lie in the second
                source = Path(f"{path}{suffix}")
                if suffix and not source.exists():
                    continue
                if source.stat().st_size > MAX_BYTES:
                    raise StoreError(f"{path}: more than {MAX_BYTES >> 20} MiB is no history")
                shutil.copyfile(source, f"{copy}{suffix}")
        except OSError as error:
            raise StoreError(f"{path}: cannot be read: {error}") from error
        _check_schema(path, copy)
        yield copy


def _check_schema(path: Path, copy: Path) -> None:
    """Views and triggers of a file from outside would run when it is read."""
    try:
        with closing(sqlite3.connect(copy)) as database:
            kinds = {kind for (kind,) in database.execute("SELECT type FROM sqlite_master")}
            tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    except sqlite3.Error as error:
        raise StoreError(f"{path}: not a history, or damaged: {error}") from error
    if "evaluations" not in tables or not kinds <= {"table", "index"}:
        raise StoreError(f"{path}: is a database, but no history of a search")


@contextmanager
def _named(path: Path, copy: Path) -> Iterator[None]:
    """Errors name the file that the user gave."""
    try:
        yield
    except StoreError as error:
        raise StoreError(str(error).replace(str(copy), str(path))) from error
