"""The one record of a run: ``history.sqlite``, a row an evaluation, committed batch by batch."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emnas_gym.errors import EmNASError, EvaluationError, StoreError
from emnas_gym.evaluator import Result
from emnas_gym.measurement import Measurement
from emnas_gym.ownership import Ownership

FORMAT = "1"
_SCHEMA = """
BEGIN;
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS evaluations (
    id INTEGER PRIMARY KEY, tokens TEXT NOT NULL, canonical TEXT NOT NULL,
    measurement TEXT, error TEXT, reward REAL, batch INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS kept (
    canonical TEXT PRIMARY KEY, measurement TEXT, error TEXT);
CREATE TABLE IF NOT EXISTS charges (
    id INTEGER PRIMARY KEY, what TEXT NOT NULL, equivalents REAL NOT NULL, seconds REAL NOT NULL,
    after INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS traces (step INTEGER PRIMARY KEY, numbers TEXT NOT NULL);
COMMIT;
"""


@dataclass(frozen=True)
class Row:
    """One evaluation.

    Attributes:
        tokens: Token ids with the end token.
        canonical: Tokens of the canonical network.
        result: What was measured, or why not.
        reward: Scalar reward; the declared value of illegal networks where nothing was measured.
        batch: Number of the batch it came in.
    """

    tokens: tuple[int, ...]
    canonical: tuple[int, ...]
    result: Result
    reward: float
    batch: int


@dataclass(frozen=True)
class Charge:
    """Training that stands in no evaluation, such as that of a supernet.

    Attributes:
        what: What was trained.
        equivalents: Images trained on ÷ images of one stand-alone training.
        seconds: Wall time.
        after: Evaluations that came before it.
    """

    what: str
    equivalents: float
    seconds: float
    after: int


class History:
    """Evaluations in order, in a file that survives ``kill -9``.

    Args:
        path: The SQLite file; None keeps the record in memory.
        about: What the run is of; a file of another run is refused.

    Raises:
        StoreError: If the file is in use, damaged, or of another run.
    """

    def __init__(self, path: Path | None, about: dict[str, Any] | None = None) -> None:
        self.path = path
        self._owner = None if path is None else Ownership(path)
        try:
            self._db = sqlite3.connect(":memory:" if path is None else path)
        except sqlite3.Error as error:
            self._release()
            raise StoreError(f"{path}: cannot be opened: {error}") from error
        try:
            with self._guard():
                self._db.execute("PRAGMA journal_mode=WAL")
                self._claim({"format": FORMAT} | (about or {}))
        except StoreError:
            self.close()
            raise

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """Says of which file the database complains."""
        try:
            yield
        except StoreError:
            raise
        except (sqlite3.Error, ValueError, TypeError, EmNASError) as error:
            raise StoreError(
                f"{self.path}: not a history, damaged, or not writable: {error}"
            ) from error

    def _claim(self, about: dict[str, Any]) -> None:
        tables = {name for (name,) in self._db.execute("SELECT name FROM sqlite_master")}
        if tables and "evaluations" not in tables:
            raise StoreError(f"{self.path}: is a database, but not a history; choose another --out")
        self._db.executescript(_SCHEMA)
        known = dict(self._db.execute("SELECT key, value FROM about"))
        for key, value in about.items():
            text = json.dumps(value, sort_keys=True)
            if known.get(key, text) != text:
                raise StoreError(
                    f"{self.path}: belongs to a run with {key} = {known[key]}, not {text}; "
                    "choose another --out, or remove the folder to start anew"
                )
        with self._db:
            rows = [(key, json.dumps(value, sort_keys=True)) for key, value in about.items()]
            self._db.executemany("INSERT OR IGNORE INTO about VALUES (?, ?)", rows)

    def __len__(self) -> int:
        """Number of evaluations."""
        count: int = self._db.execute("SELECT COUNT(*) FROM evaluations").fetchone()[0]
        return count

    def about(self) -> dict[str, Any]:
        """What the run is of.

        Raises:
            StoreError: If the file is damaged.
        """
        with self._guard():
            known = self._db.execute("SELECT key, value FROM about")
            return {key: json.loads(value) for key, value in known}

    def append(self, rows: Sequence[Row]) -> None:
        """Adds a batch in one commit.

        Raises:
            StoreError: If the file cannot be written, e.g. on a full disk.
        """
        values = [
            (
                _text(row.tokens),
                _text(row.canonical),
                *_result_text(row.result),
                row.reward,
                row.batch,
            )
            for row in rows
        ]
        query = (
            "INSERT INTO evaluations (tokens, canonical, measurement, error, reward, batch) "
            "VALUES (?, ?, ?, ?, ?, ?)"
        )
        with self._guard(), self._db:
            self._db.executemany(query, values)

    def keep(self, results: Mapping[tuple[int, ...], Result]) -> None:
        """Keeps results of a batch that broke off, by canonical tokens; they are no evaluations.

        Raises:
            StoreError: If the file cannot be written.
        """
        values = [(_text(key), *_result_text(result)) for key, result in results.items()]
        with self._guard(), self._db:
            self._db.executemany("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", values)

    def kept(self) -> dict[tuple[int, ...], Result]:
        """What `keep` has kept.

        Raises:
            StoreError: If the file is damaged.
        """
        with self._guard():
            rows = self._db.execute("SELECT canonical, measurement, error FROM kept")
            return {_tokens(key): _read_result(value, error) for key, value, error in rows}

    def rows(self) -> Iterator[Row]:
        """All evaluations in order.

        Raises:
            StoreError: If the file is damaged.
        """
        columns = "tokens, canonical, measurement, error, reward, batch"
        query = f"SELECT {columns} FROM evaluations ORDER BY id"
        with self._guard():
            rows = [_read_row(values) for values in self._db.execute(query)]
        yield from rows

    def charge(self, charge: Charge) -> None:
        """Adds a charge.

        Raises:
            StoreError: If the file cannot be written.
        """
        values = charge.what, charge.equivalents, charge.seconds, charge.after
        query = "INSERT INTO charges (what, equivalents, seconds, after) VALUES (?, ?, ?, ?)"
        with self._guard(), self._db:
            self._db.execute(query, values)

    def charges(self) -> list[Charge]:
        """All charges in order.

        Raises:
            StoreError: If the file is damaged.
        """
        query = "SELECT what, equivalents, seconds, after FROM charges ORDER BY id"
        with self._guard():
            return [Charge(*values) for values in self._db.execute(query)]

    def trace(self, step: int, numbers: Mapping[str, Any]) -> None:
        """Stores what an agent tells of a step of its own; what it told of the step is replaced.

        Raises:
            StoreError: If the file cannot be written, or these are no plain data.
        """
        with self._guard(), self._db:
            values = step, json.dumps(numbers, allow_nan=False)
            self._db.execute("INSERT OR REPLACE INTO traces VALUES (?, ?)", values)

    def traces(self) -> list[tuple[int, dict[str, Any]]]:
        """(step, what the agent told of it), in the order of steps.

        Raises:
            StoreError: If the file is damaged.
        """
        with self._guard():
            rows = self._db.execute("SELECT step, numbers FROM traces ORDER BY step")
            return [(int(step), json.loads(text)) for step, text in rows]

    def to_jsonl(self, path: Path) -> None:
        """Exports one JSON object per evaluation."""
        with path.open("w", encoding="utf-8") as file:
            for row in self.rows():
                content = (
                    {"error": str(row.result)}
                    if isinstance(row.result, EvaluationError)
                    else row.result.to_json()
                )
                line = {"tokens": row.tokens, "reward": row.reward, "batch": row.batch} | content
                file.write(json.dumps(line) + "\n")

    def close(self) -> None:
        """Closes the file and lets others have it."""
        self._db.close()
        self._release()

    def _release(self) -> None:
        if self._owner is not None:
            self._owner.release()


def _read_row(values: tuple[str, str, str | None, str, float, int]) -> Row:
    tokens, canonical, measurement, error, reward, batch = values
    result = _read_result(measurement, error)
    return Row(_tokens(tokens), _tokens(canonical), result, reward, batch)


def _result_text(result: Result) -> tuple[str | None, str | None]:
    """A measurement as JSON, or an error's words."""
    if isinstance(result, EvaluationError):
        return None, str(result)
    return json.dumps(result.to_json()), None


def _read_result(measurement: str | None, error: str | None) -> Result:
    if measurement is None:
        return EvaluationError(error)
    return Measurement.from_json(json.loads(measurement))


def _text(tokens: Sequence[int]) -> str:
    return " ".join(map(str, tokens))


def _tokens(text: str) -> tuple[int, ...]:
    return tuple(map(int, text.split()))
