"""Files of tables: npz, CSV and Parquet with the columns of `emnas_gym.table_columns`.

A CSV file may begin with a line ``#emnas-table {…}``, the header as JSON; without it the file's
name is the name of table and task, and operations stand in the order in which they occur. A Parquet
file has the header in its metadata, under the key ``emnas-table``, an npz file as an array of bytes
named ``header``.
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from emnas_gym.array_file import BROKEN, read_arrays, write_arrays
from emnas_gym.errors import TableFileError, nearest
from emnas_gym.table import Table, columns_of
from emnas_gym.table_columns import MAX_CELLS, MAX_ROWS, Column, TableReader, header_of

MAX_BYTES = 256 << 20
MAX_CSV_BYTES = 64 << 20
MAX_HEADER = 1 << 20
MARK = "#emnas-table"
SUFFIXES = (".npz", ".csv", ".parquet")
Header = dict[str, Any]


def read_table(path: str | Path) -> Table:
    """Reads and checks a table; an unchanged file once a process.

    Args:
        path: A file that ends in ``.npz``, ``.csv`` or ``.parquet``.

    Raises:
        TableFileError: If it is missing, too large, damaged, or breaks a rule of the columns.
        DependencyNotInstalled: If it is a Parquet file and pyarrow is missing.
    """
    file = Path(path)
    _check_suffix(file)
    try:
        status = os.stat(file)
    except OSError as error:
        raise TableFileError(f"{file}: cannot be read: {error.strerror}") from error
    limit = MAX_CSV_BYTES if file.suffix == ".csv" else MAX_BYTES
    if status.st_size > limit:
        raise TableFileError(f"{file}: {status.st_size:,} bytes are more than {limit:,}")
    return _read(str(file.resolve()), status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=4)
def _read(path: str, changed: int, size: int) -> Table:
    file = Path(path)
    try:
        return _READERS[file.suffix](file).table()
    except BROKEN as error:
        if isinstance(error, TableFileError):
            raise
        raise TableFileError(f"{path}: is no table, or damaged: {error}") from error


def write_table(table: Table, path: str | Path) -> None:
    """Writes a table; the file reads back as the table was.

    Args:
        table: The table.
        path: A file that ends in ``.npz``, ``.csv`` or ``.parquet``.

    Raises:
        TableFileError: If the name ends otherwise.
        DependencyNotInstalled: If a Parquet file is asked for and pyarrow is missing.
    """
    file = Path(path)
    _check_suffix(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    _WRITERS[file.suffix](table, file)


def _check_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        end = nearest(path.suffix, SUFFIXES)
        raise TableFileError(f"{path}: a table ends in {', '.join(SUFFIXES)}{end}")


def _check_size(path: Path, rows: int, columns: int) -> None:
    if rows > MAX_ROWS or rows * columns > MAX_CELLS:
        raise TableFileError(
            f"{path}: {rows:,} rows of {columns:,} columns are more than {MAX_ROWS:,} rows or "
            f"{MAX_CELLS:,} values"
        )


def _header(path: Path, text: bytes | str) -> Header:
    """The header; a name that it lacks is the file's."""
    if len(text) > MAX_HEADER:
        raise TableFileError(f"{path}: the header has more than {MAX_HEADER:,} characters")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise TableFileError(f"{path}: the header is not JSON: {error}") from error
    if not isinstance(header, dict):
        raise TableFileError(f"{path}: the header is an object of JSON, {{…}}")
    return {"name": path.stem} | header


# ------------------------------------------------------------------------------------------ npz


def _read_npz(path: Path) -> TableReader:
    columns: dict[str, Column] = dict(read_arrays(path.read_bytes()))
    if "header" not in columns:
        raise TableFileError(f"{path}: is no table of architectures: it has no header")
    header = _header(path, columns.pop("header").tobytes())
    for name, column in columns.items():
        if column.ndim != 1:
            raise TableFileError(f"{path}: {name} has shape {column.shape}, not one value a row")
    _check_size(path, max(map(len, columns.values()), default=0), len(columns))
    return TableReader(str(path), header, columns)


def _write_npz(table: Table, path: Path) -> None:
    text = np.frombuffer(json.dumps(header_of(table)).encode(), dtype=np.uint8)
    columns = {name: _shortest(values) for name, values in columns_of(table).items()}
    path.write_bytes(write_arrays({"header": text, **columns}))


def _shortest(values: Column) -> Column:
    if values.dtype.kind == "f":
        return values
    return values.astype(np.min_scalar_type(int(values.max(initial=0))))


# ------------------------------------------------------------------------------------------ csv


def _read_csv(path: Path) -> TableReader:
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline(MAX_HEADER + len(MARK) + 2)
        header: Header = {"name": path.stem}
        if first.startswith(MARK):
            header, offset = _header(path, first[len(MARK) :]), 1
        else:
            file.seek(0)
            offset = 0
        rows = _rows(path, file, offset)
        names = next(rows, (0, []))[1]
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise TableFileError(f"{path}: has two columns {twice!r}")
        texts: list[list[str]] = [[] for _ in names]
        lines: list[int] = []
        for line, cells in rows:
            if len(cells) != len(names):
                raise TableFileError(
                    f"{path}: line {line}: {len(cells)} values for {len(names)} columns"
                )
            lines.append(line)
            for column, cell in zip(texts, cells, strict=True):
                column.append(cell)
        _check_size(path, len(lines), len(names))
    columns = {
        name: _column(path, name, column, lines) for name, column in zip(names, texts, strict=True)
    }
    return TableReader(str(path), header, columns, lambda row: f"line {lines[row]}")


def _rows(path: Path, file: Any, offset: int) -> Iterator[tuple[int, list[str]]]:  # noqa: ANN401
    """Line numbers and values of all rows that are not empty."""
    reader = csv.reader(file, strict=True)
    try:
        for count, cells in enumerate(reader):
            _check_size(path, count, len(cells))
            if any(cell.strip() for cell in cells):
                yield reader.line_num + offset, [cell.strip() for cell in cells]
    except csv.Error as error:
        raise TableFileError(f"{path}: line {reader.line_num + offset}: {error}") from error


def _column(path: Path, name: str, texts: list[str], lines: list[int]) -> Column:
    """Texts of operations and classes as they are, all else as numbers, NaN where it is empty."""
    if name == "class" or name.startswith("op/"):
        return np.array(texts, dtype=object)
    values = np.full(len(texts), math.nan)
    for row, text in enumerate(texts):
        if not text:
            continue
        try:
            values[row] = float(text)
        except ValueError:
            values[row] = math.inf
        if not math.isfinite(values[row]):
            raise TableFileError(
                f"{path}: line {lines[row]}: {name} = {text[:60]!r} is no finite number; leave "
                "empty what was not measured"
            )
    return values


def _write_csv(table: Table, path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(f"{MARK} {json.dumps(header_of(table), ensure_ascii=False)}\n")
        columns = columns_in_words(table)
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in zip(*(column.tolist() for column in columns.values()), strict=True):
            writer.writerow(["" if value != value else value for value in row])


def columns_in_words(table: Table) -> dict[str, Column]:
    """The columns with operations by their names."""
    columns: dict[str, Column] = dict(columns_of(table))
    for position, names in table.operations.items():
        words = np.array(names, dtype=object)
        columns[f"op/{position}"] = words[columns[f"op/{position}"]]
    return columns


# -------------------------------------------------------------------------------------- parquet


def _read_parquet(path: Path) -> TableReader:
    from emnas_gym.table_parquet import read_parquet

    header, columns = read_parquet(path, lambda rows, count: _check_size(path, rows, count))
    return TableReader(str(path), _header(path, header), columns)


def _write_parquet(table: Table, path: Path) -> None:
    from emnas_gym.table_parquet import write_parquet

    write_parquet(path, json.dumps(header_of(table)), columns_in_words(table))


_READERS: Mapping[str, Callable[[Path], TableReader]] = {
    ".npz": _read_npz,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
_WRITERS: Mapping[str, Callable[[Table, Path], None]] = {
    ".npz": _write_npz,
    ".csv": _write_csv,
    ".parquet": _write_parquet,
}
