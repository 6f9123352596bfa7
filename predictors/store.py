"""The table of measured networks as SQLite: one row a measurement, safe against ``kill -9``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from emnas_gym.errors import StoreError
from predictors.sqlite_file import SqliteFile

SCHEMA = """
BEGIN;
CREATE TABLE IF NOT EXISTS about (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS trainings (
    tokens TEXT NOT NULL, seed INTEGER NOT NULL, origin TEXT NOT NULL,
    curve TEXT NOT NULL, test_accuracy REAL NOT NULL, seconds REAL NOT NULL,
    PRIMARY KEY (tokens, seed));
CREATE TABLE IF NOT EXISTS quantised (
    tokens TEXT NOT NULL, seed INTEGER NOT NULL, int8_accuracy REAL NOT NULL,
    PRIMARY KEY (tokens, seed));
CREATE TABLE IF NOT EXISTS costs (
    tokens TEXT NOT NULL, device TEXT NOT NULL, field TEXT NOT NULL, value REAL NOT NULL,
    PRIMARY KEY (tokens, device, field));
CREATE TABLE IF NOT EXISTS failures (
    tokens TEXT NOT NULL, seed INTEGER NOT NULL, stage TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (tokens, seed, stage));
COMMIT;
"""
Tokens = tuple[int, ...]


@dataclass(frozen=True)
class Training:
    """One training of one network.

    Attributes:
        tokens: Token ids with the end token.
        seed: Seed of the training.
        origin: How the network was drawn.
        curve: Validation accuracy after each epoch.
        test_accuracy: Accuracy on the test part after the last epoch.
        seconds: Wall time.
        int8_accuracy: Accuracy of its int8 file on the test part; None where it was not made.
    """

    tokens: Tokens
    seed: int
    origin: str
    curve: tuple[float, ...]
    test_accuracy: float
    seconds: float
    int8_accuracy: float | None = None


class TableStore(SqliteFile):
    """A SQLite file of trainings and costs.

    Args:
        path: The file; made if there is none.
        about: What the table is of (space, task, recipe); a file of something else is refused.

    Raises:
        StoreError: If the file is locked, damaged, or of another table.
    """

    SCHEMA = SCHEMA
    SIGN = "trainings"
    WHAT = "table"
    MADE_BY = "predictors collect"

    def __init__(self, path: Path, about: dict[str, str]) -> None:
        super().__init__(path)
        with self._closed_on_error(), self._transaction():
            known = dict(self._db.execute("SELECT key, value FROM about"))
            for key, value in about.items():
                if known.get(key, value) != value:
                    raise StoreError(
                        f"{path}: has {key} = {known[key]!r}, asked for {value!r}; "
                        "give another --out or remove the file"
                    )
            self._db.executemany("INSERT OR IGNORE INTO about VALUES (?, ?)", about.items())

    def add_trainings(self, rows: Iterable[Training]) -> None:
        """Stores trainings in one commit.

        One that is there already stays, unless its int8 file was never measured.
        """
        known = list(rows)
        values = [
            (_text(r.tokens), r.seed, r.origin, json.dumps(r.curve), r.test_accuracy, r.seconds)
            for r in known
        ]
        quantised = [
            (_text(r.tokens), r.seed, r.int8_accuracy) for r in known if r.int8_accuracy is not None
        ]
        half_done = (
            "tokens = ? AND seed = ? AND NOT EXISTS (SELECT 1 FROM quantised AS q "
            "WHERE q.tokens = trainings.tokens AND q.seed = trainings.seed)"
        )
        with self._transaction():
            replaced = [(tokens, seed) for tokens, seed, _ in quantised]
            self._db.executemany(f"DELETE FROM trainings WHERE {half_done}", replaced)
            self._db.executemany("INSERT OR IGNORE INTO trainings VALUES (?,?,?,?,?,?)", values)
            self._db.executemany("INSERT OR IGNORE INTO quantised VALUES (?,?,?)", quantised)

    def add_costs(self, device: str, rows: Iterable[tuple[Tokens, dict[str, float]]]) -> None:
        """Stores measured costs of networks on a device, in one commit."""
        values = [
            (_text(tokens), device, name, value)
            for tokens, fields in rows
            for name, value in fields.items()
        ]
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO costs VALUES (?,?,?,?)", values)

    def add_failure(self, tokens: Tokens, seed: int, stage: str, reason: str) -> None:
        """Stores that a network could not be measured, and why."""
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO failures VALUES (?,?,?,?)",
                (_text(tokens), seed, stage, reason),
            )

    def trainings(self) -> Iterator[Training]:
        """All trainings in the order in which they were stored.

        Raises:
            StoreError: If the file is damaged.
        """
        query = (
            "SELECT tokens, seed, origin, curve, test_accuracy, seconds "
            "FROM trainings ORDER BY rowid"
        )
        with self._guard():
            quantised = self._quantised()
            rows = [
                Training(
                    _tokens(tokens),
                    seed,
                    origin,
                    tuple(json.loads(curve)),
                    test,
                    seconds,
                    quantised.get((tokens, seed)),
                )
                for tokens, seed, origin, curve, test, seconds in self._db.execute(query)
            ]
        yield from rows

    def _quantised(self) -> dict[tuple[str, int], float]:
        """Int8 accuracies by tokens and seed; none in a file of before there were any."""
        query = "SELECT name FROM sqlite_master WHERE name = 'quantised'"
        if self._db.execute(query).fetchone() is None:
            return {}
        rows = self._db.execute("SELECT tokens, seed, int8_accuracy FROM quantised")
        return {(tokens, seed): accuracy for tokens, seed, accuracy in rows}

    def costs(self, device: str) -> dict[Tokens, dict[str, float]]:
        """Measured costs on a device by tokens."""
        table: dict[Tokens, dict[str, float]] = {}
        query = "SELECT tokens, field, value FROM costs WHERE device = ? ORDER BY rowid"
        for tokens, name, value in self._db.execute(query, (device,)):
            table.setdefault(_tokens(tokens), {})[name] = value
        return table

    def devices(self) -> list[str]:
        """Devices with measured costs."""
        return [
            name for (name,) in self._db.execute("SELECT DISTINCT device FROM costs ORDER BY 1")
        ]

    def failures(self) -> list[tuple[Tokens, int, str, str]]:
        """Tokens, seed, stage and reason of all that could not be measured."""
        query = "SELECT tokens, seed, stage, reason FROM failures ORDER BY rowid"
        return [(_tokens(t), seed, stage, why) for t, seed, stage, why in self._db.execute(query)]

    def about(self) -> dict[str, str]:
        """What the table is of and how it came about."""
        return dict(self._db.execute("SELECT key, value FROM about ORDER BY key"))

    def failed(self, stage: str) -> set[Tokens]:
        """Tokens of networks that could not be measured in a stage."""
        query = "SELECT tokens FROM failures WHERE stage = ?"
        return {_tokens(tokens) for (tokens,) in self._db.execute(query, (stage,))}

    def note(self, key: str, value: str) -> None:
        """Notes how the table came about, e.g. on which host."""
        with self._transaction():
            self._db.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (key, value))

    def done(self) -> set[tuple[Tokens, int]]:
        """Tokens and seeds that were trained or have failed."""
        return self._pairs(
            "SELECT tokens, seed FROM trainings "
            "UNION SELECT tokens, seed FROM failures WHERE stage = 'train'"
        )

    def half_done(self) -> set[tuple[Tokens, int]]:
        """Tokens and seeds that were trained, but whose int8 file an older version left out."""
        return self._pairs(
            "SELECT tokens, seed FROM trainings EXCEPT SELECT tokens, seed FROM quantised"
        )

    def _pairs(self, query: str) -> set[tuple[Tokens, int]]:
        with self._guard():
            return {(_tokens(tokens), seed) for tokens, seed in self._db.execute(query)}


def _text(tokens: Sequence[int]) -> str:
    return " ".join(map(str, tokens))


def _tokens(text: str) -> Tokens:
    return tuple(map(int, text.split()))
