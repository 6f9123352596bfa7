"""A CSV file of times that people measured, written by us, by hand or by a spreadsheet.

Columns: ``model`` (CRC-32 of the .tflite file, 8 hex digits), ``values`` (one or more, with spaces
between them), ``unit`` (s, ms, us, ns), ``device``, ``note``, ``date``; the first three are needed.
A row without values waits to be filled in. Files with semicolons have decimal commas.
"""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from emnas_gym.errors import StoreError
from hardware.drivers.typed_times import BadTime, Times, parse_times

COLUMNS = ("model", "values", "unit", "device", "note", "date")
NEEDED = COLUMNS[:3]
MOST_BYTES = 16 << 20
MOST_SHOWN = 200  # characters of a cell that are passed on
BOM = "\ufeff"


@dataclass(frozen=True)
class Row:
    """What was measured of one network.

    Attributes:
        model: CRC-32 of its int8 .tflite file.
        times: Its runs.
        device: What it ran on.
        note: Whatever was noted.
        date: When, as it was typed.
        line: Of the file, from 1; not compared.
    """

    model: int
    times: Times
    device: str = ""
    note: str = ""
    date: str = ""
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Waiting:
    """A row that waits to be filled in.

    Attributes:
        line: Its first line, from 1.
        end: Its last line.
        cells: What it says so far, by column.
    """

    line: int
    end: int
    cells: Mapping[str, str]


def import_table(path: Path) -> list[Row]:
    """Reads all rows that are filled in, in the file's order.

    Raises:
        StoreError: Naming file and line, if there is no file, no header, or if a row has no CRC, an
            unknown unit or a time that cannot be, or differs from another row of its model.
    """
    if not path.exists():
        raise StoreError(f"{path}: there is no such file")
    return list(ManualTable(path).rows.values())


class ManualTable:
    """The file as it is now; a new one where there is none.

    Args:
        path: The file.

    Attributes:
        rows: What is filled in, by model.
        waiting: Rows that wait to be filled in, by model.

    Raises:
        StoreError: As `import_table`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._load()

    def _load(self) -> None:
        self.rows: dict[int, Row] = {}
        self.waiting: dict[int, Waiting] = {}
        text = _read(self.path) or ",".join(COLUMNS) + "\n"
        self._mark = BOM if text.startswith(BOM) else ""
        self._lines = list(io.StringIO(text.removeprefix(BOM), newline="")) or [""]
        header = self._lines[0]
        self._delimiter = max(",;\t", key=header.count)
        self._end = "\r\n" if header.endswith("\r\n") else "\n"
        self._take_rows()

    def put(self, row: Row) -> None:
        """Adds a row, in the place of the one that waits for it if there is one.

        Raises:
            StoreError: If the file cannot be written; it is then as it was.
        """
        values = row.times.text
        if self._delimiter == ";":
            values = values.replace(".", ",")  # else its spreadsheet makes a date of it
        texts = (f"0x{row.model:08x}", values, row.times.unit, row.device, row.note, row.date)
        self._write(row.model, dict(zip(COLUMNS, texts, strict=True)))

    def wait_for(self, model: int, device: str) -> int:
        """Makes sure that a row waits for a model, and returns its line.

        Raises:
            StoreError: If the file cannot be written.
        """
        if model not in self.waiting:
            self._write(model, {"model": f"0x{model:08x}", "device": device})
        return self.waiting[model].line

    def _write(self, model: int, cells: Mapping[str, str]) -> None:
        """Writes a row where one waits for it, whose other cells stay, or at the end."""
        waiting = self.waiting.get(model)
        known = dict(waiting.cells) if waiting else {}
        known |= {name: text for name, text in cells.items() if text}
        out = io.StringIO()
        writer = csv.writer(out, delimiter=self._delimiter, lineterminator=self._end)
        writer.writerow([known.get(name, "") for name in self._columns])
        lines = list(self._lines)
        if not lines[-1].endswith(("\n", "\r")):
            lines[-1] += self._end
        begin, end = (waiting.line - 1, waiting.end) if waiting else (len(lines), len(lines))
        lines[begin:end] = [out.getvalue()]
        self._replace(self._mark + "".join(lines))
        self._load()

    def _replace(self, text: str) -> None:
        path = self.path.resolve()
        partial = path.with_name(path.name + ".part")
        try:
            partial.write_bytes(text.encode("utf-8"))
            os.replace(partial, path)
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written: {error.strerror or error}") from error

    def _take_rows(self) -> None:
        records = self._records()
        _, _, header = next(records, (1, 1, [""]))
        self._columns = [name.casefold() for name in header]
        missing = [name for name in NEEDED if self._columns.count(name) != 1]
        if missing:
            raise StoreError(
                f"{self.path}:1: the header needs the columns {', '.join(NEEDED)} once; "
                f"{', '.join(missing)} {'is' if len(missing) == 1 else 'are'} not so"
            )
        for line, end, cells in records:
            if any(cells):
                self._take(line, end, cells)

    def _records(self) -> Iterator[tuple[int, int, list[str]]]:
        """First line, last line and cells of each record."""
        reader = csv.reader(self._lines, delimiter=self._delimiter, strict=True)
        line = 1
        try:
            for cells in reader:
                yield line, reader.line_num, [cell.strip() for cell in cells]
                line = reader.line_num + 1
        except csv.Error as error:
            raise StoreError(f"{self.path}:{line}: is no CSV: {error}") from error

    def _take(self, line: int, end: int, cells: list[str]) -> None:
        if len(cells) < len(self._columns) or any(cells[len(self._columns) :]):
            raise StoreError(
                f"{self.path}:{line}: {len(cells)} cells, where the header has {len(self._columns)}"
            )
        named = dict(zip(self._columns, cells, strict=False))
        if not re.fullmatch(r"(0x)?[0-9a-f]{8}", named["model"].casefold()):
            raise StoreError(
                f"{self.path}:{line}: the model {named['model'][:40]!r} is no CRC of 8 hex digits "
                "(spreadsheets change what looks like a number: make it a column of text)"
            )
        model = int(named["model"], 16)
        if not named["values"]:
            self.waiting.setdefault(model, Waiting(line, end, named))
            return
        device, note, date = (_shown(named.get(name, "")) for name in COLUMNS[3:])
        self._take_filled(Row(model, self._times(line, named), device, note, date, line))

    def _times(self, line: int, named: Mapping[str, str]) -> Times:
        try:
            return parse_times(named["values"], named["unit"], self._delimiter == ";")
        except BadTime as error:
            raise StoreError(f"{self.path}:{line}: {error}") from error

    def _take_filled(self, row: Row) -> None:
        known = self.rows.setdefault(row.model, row)
        same = known.times.microseconds == row.times.microseconds and known.device == row.device
        if not same:
            raise StoreError(
                f"{self.path}:{row.line}: says of model {row.model:08x} something else than line "
                f"{known.line}; remove one of them"
            )


def _shown(cell: str) -> str:
    """A cell without what a terminal would obey."""
    return "".join(c if c.isprintable() else " " for c in cell[:MOST_SHOWN])


def _read(path: Path) -> str:
    try:
        if not path.exists():
            return ""
        if path.stat().st_size > MOST_BYTES:
            raise StoreError(f"{path}: is larger than {MOST_BYTES >> 20} MiB")
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise StoreError(f"{path}: is not UTF-8; save it as 'CSV UTF-8' ({error})") from error
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror or error}") from error
