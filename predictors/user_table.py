"""A user's own measurements as a CSV file: units, repeats and impossible values are checked.

Columns, in any order; others are left alone:

- ``tokens``: token ids of a network with the end token, separated by spaces.
- one value: ``latency_ms``, ``latency_us`` or ``latency_s``; or ``accuracy`` (a share, 0 … 1) or
  ``accuracy_percent``.
- ``error``, if there is one: a row in which it is not empty was not measured, and is left out.

What `python -m hardware measure --samples` writes is such a file.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import DatasetError, EmNASError, UnknownName
from emnas_gym.space import SearchSpace
from emnas_gym.tasks import Task
from predictors.predictor_fit import LEAST_ROWS
from predictors.store import Tokens

VALUES = {  # column → field, factor to its unit
    "latency_ms": ("latency_ms", 1.0),
    "latency_us": ("latency_ms", 1e-3),
    "latency_s": ("latency_ms", 1e3),
    "accuracy": ("accuracy", 1.0),
    "accuracy_percent": ("accuracy", 0.01),
}
LONGEST_MS = 1e7  # nearly three hours
MOST_BYTES, MOST_TEXT = 64 << 20, 10_000
SHOWN = 10  # complaints


@dataclass(frozen=True)
class UserTable:
    """Measured networks of a user.

    Attributes:
        field: ``"latency_ms"`` or ``"accuracy"``.
        networks: Token ids of distinct networks.
        values: In the unit of the field, shape (N,).
        left_out: Rows that say that they were not measured.
    """

    field: str
    networks: tuple[Tokens, ...]
    values: NDArray[np.float64]
    left_out: int


def read_user_table(
    path: Path,
    space: SearchSpace,
    task: Task,
    column: str | None = None,
    least: int = LEAST_ROWS,
) -> UserTable:
    """Reads and checks a table; every complaint names its line.

    Args:
        path: The CSV file.
        space: Of the networks.
        task: On which they must build.
        column: Which value is read; the only one that there is if None.
        least: Measured networks that are needed.

    Raises:
        DatasetError: If the file cannot be read, a column is missing, or values are impossible,
            repeated or too few.
        UnknownName: If there is no such value.
    """
    if column is not None and column not in VALUES:
        raise UnknownName("value", column, VALUES)
    lines = _lines(path)
    header = next(lines)[1]
    column = column or _only_value(path, header)
    for name in ("tokens", column):
        if name not in header:
            raise DatasetError(
                f"{path}: has no column {name}; it has {', '.join(header) or 'none'}"
            )
    reader = _Reader(path, space, task, column)
    for number, cells in lines:
        if len(cells) != len(header):
            reader.complain(number, f"{len(cells)} values for {len(header)} columns")
            continue
        reader.add(number, dict(zip(header, cells, strict=True)))
    return reader.table(least)


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Line numbers and values of all rows that are not empty, the header first."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DatasetError(f"{path}: is larger than {MOST_BYTES} bytes")
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader, some = csv.reader(file, strict=True), False
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    some = True
                    yield reader.line_num, [cell.strip() for cell in cells]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: is no CSV file that can be read: {error}") from error
    if not some:
        raise DatasetError(f"{path}: is empty")


def _only_value(path: Path, header: list[str]) -> str:
    known = [name for name in VALUES if name in header]
    if len(known) == 1:
        return known[0]
    found = f"has {' and '.join(known)}: choose with --value" if known else "has no value"
    raise DatasetError(f"{path}: {found}; a value is one of the columns {', '.join(VALUES)}")


class _Reader:
    """Collects good rows and complaints."""

    def __init__(self, path: Path, space: SearchSpace, task: Task, column: str) -> None:
        self.path, self.space, self.task, self.column = path, space, task, column
        self.field, self.factor = VALUES[column]
        self.seen: dict[Tokens, int] = {}  # canonical network → line
        self.rows: list[tuple[Tokens, float]] = []
        self.complaints: list[str] = []
        self.left_out = 0

    def complain(self, line: int, message: str) -> None:
        self.complaints.append(f"line {line}: {message}")

    def add(self, line: int, row: dict[str, str]) -> None:
        if row.get("error"):
            self.left_out += 1
            return
        try:
            tokens, value = self._tokens(row["tokens"]), self._value(row[self.column])
        except (EmNASError, ValueError) as error:
            self.complain(line, str(error))
            return
        canonical = self.space.canonical_tokens(tokens)
        if canonical in self.seen:
            self.complain(line, f"the same network as in line {self.seen[canonical]}")
            return
        self.seen[canonical] = line
        self.rows.append((tokens, value))

    def _tokens(self, text: str) -> Tokens:
        words = text[:MOST_TEXT].split()
        if not words or not all(
            word.isascii() and word.isdigit() and len(word) < 6 for word in words
        ):
            raise ValueError(f"tokens are whole numbers separated by spaces, not {text[:60]!r}")
        tokens = tuple(int(word) for word in words)
        self.space.architecture(tokens).graph(self.task)
        return tokens

    def _value(self, text: str) -> float:
        try:
            value = float(text) * self.factor
        except ValueError:
            raise ValueError(f"{self.column} is a number, not {text[:60]!r}") from None
        if self.field == "accuracy" and not 0 <= value <= 1:
            hint = "; are these percent? Then name the column accuracy_percent"
            end = hint if self.column == "accuracy" and 1 < value <= 100 else ""
            raise ValueError(f"{self.column} = {text} is no accuracy{end}")
        if self.field == "latency_ms" and not 0 < value <= LONGEST_MS:
            raise ValueError(f"{self.column} = {text} is no time between 0 and {LONGEST_MS:g} ms")
        if not math.isfinite(value):
            raise ValueError(f"{self.column} = {text} is no number")
        return value

    def table(self, least: int) -> UserTable:
        if self.complaints:
            more = len(self.complaints) - SHOWN
            end = f"\nand {more} more" if more > 0 else ""
            raise DatasetError(f"{self.path}: " + "\n".join(self.complaints[:SHOWN]) + end)
        if len(self.rows) < least:
            raise DatasetError(
                f"{self.path}: {len(self.rows)} measured networks are too few; "
                f"measure {least} or more"
            )
        networks = tuple(tokens for tokens, _ in self.rows)
        values = np.array([value for _, value in self.rows], dtype=np.float64)
        return UserTable(self.field, networks, values, self.left_out)
