"""Boards that only a person can flash: asks for the times, and remembers them in a CSV file."""

from __future__ import annotations

import os
import sys
import zlib
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from emnas_gym.errors import StoreError
from emnas_gym.ownership import Ownership
from hardware.deployment import Deployment
from hardware.drivers.base import Driver
from hardware.drivers.manual_table import ManualTable, Row
from hardware.drivers.typed_times import BadTime, Times, parse_times
from hardware.errors import DeviceError, DeviceRefused
from hardware.extras import load
from hardware.reading import Reading, Repeats

if TYPE_CHECKING:
    from rich.console import Console

MOST_QUESTIONS = 5
FILE_NAMES = {"float32": "model_float32.tflite", "uint8": "model_uint8.tflite"}


class ManualDriver(Driver):
    """A person with a board.

    What the table has is taken from it, so that nobody is asked twice. For any other network the
    files are written into a folder beside the table, named by the model's CRC; then the times are
    asked for on the terminal, or, where there is none, a row is added that waits to be filled in.

    Args:
        address: Path of the table, a CSV file (`hardware.drivers.manual_table`); made if missing.
        device: What the person measures on; noted with every answer.
        source: Where answers are typed; standard input if None.
        console: Where questions are shown; standard error if None.

    Raises:
        DeviceError: If another program has the table, or it cannot be written.
        StoreError: Naming file and line, if the table is not in order.
    """

    def __init__(
        self,
        address: str,
        *,
        device: str = "",
        source: TextIO | None = None,
        console: Console | None = None,
    ) -> None:
        self.path, self.device = Path(address), device
        self._source, self._console = source, console
        self._closed = False
        try:
            self._owned = Ownership(self.path.resolve())
        except StoreError as error:
            raise DeviceError(f"the table cannot be had: {error}") from error
        try:
            ManualTable(self.path)
        except BaseException:
            self._owned.release()
            raise

    def describe(self) -> dict[str, str]:
        """The table and what is in it.

        Raises:
            StoreError: If it is no longer in order.
        """
        table = ManualTable(self.path)
        return {
            "name": self.device or "a board that a person measures",
            "table": str(self.path),
            "filled in": f"{len(table.rows)} rows",
            "to fill in": f"{len(set(table.waiting) - set(table.rows))} rows",
        }

    def measure(self, deployment: Deployment, repeats: Repeats) -> Reading:
        """Takes the times from the table, or asks for them and adds them to it.

        Raises:
            DeviceRefused: If no time was given: skipped, or nobody is there to be asked.
            DeviceError: If the driver was closed, or a file cannot be written.
            StoreError: If the table is no longer in order.
        """
        if self._closed:
            raise DeviceError(f"{self.path} was let go")
        model = zlib.crc32(deployment.tflite)
        row = ManualTable(self.path).rows.get(model) or self._asked(model, deployment, repeats)
        noted = (row.device, row.note, row.date)
        return Reading(
            ticks=row.times.microseconds,
            ticks_per_second=1e6,
            provenance="manual",
            clock="typed by hand",
            model=model,
            firmware=row.device,
            notes=tuple(text for text in noted if text),
        )

    def close(self) -> None:
        """Lets others have the table."""
        self._closed = True
        self._owned.release()

    def _asked(self, model: int, deployment: Deployment, repeats: Repeats) -> Row:
        folder = self.path.parent / f"{model:08x}"
        names = _write_files(folder, deployment)
        source = self._source or sys.stdin
        if source is None or source.closed or not source.isatty():
            line = ManualTable(self.path).wait_for(model, self.device)
            raise DeviceRefused(
                f"nobody is there to be asked: measure a file of {folder}, and fill in line {line} "
                f"of {self.path} (model 0x{model:08x})"
            )
        self._show(f"\nModel {model:08x}: flash one of {', '.join(names)} from {folder}")
        self._show(f"to {self.device or 'the board'}; run it {repeats.warm_up} times unmeasured,")
        self._show(f"then measure up to {repeats.timed} single runs.")
        times = self._typed(source, model)
        return self._remembered(Row(model, times, self.device, "", date.today().isoformat()))

    def _remembered(self, row: Row) -> Row:
        """Adds a row to the table as it is by now: somebody may have filled it in meanwhile."""
        table = ManualTable(self.path)
        if row.model not in table.rows:
            table.put(row)
        return table.rows[row.model]

    def _typed(self, source: TextIO, model: int) -> Times:
        reason = ""
        for _ in range(MOST_QUESTIONS):
            self._show("Time of one run, such as '12.3 ms' or '850 us, 860 us' (empty skips): ", "")
            answer = source.readline()
            if answer.strip().casefold() in ("", "skip"):
                raise DeviceRefused(f"model {model:08x} was skipped")
            try:
                return parse_times(answer)
            except BadTime as error:
                reason = str(error)
                self._show(f"Not understood: {reason}")
        raise DeviceRefused(
            f"{MOST_QUESTIONS} answers for model {model:08x} were no time: {reason}"
        )

    def _show(self, text: str, end: str = "\n") -> None:
        if self._console is None:
            self._console = load("rich.console").Console(stderr=True)
        self._console.print(text, end=end, markup=False, highlight=False, soft_wrap=True)


def _write_files(folder: Path, deployment: Deployment) -> list[str]:
    """Writes the network in every format there is, and returns the names of the files."""
    files = {"model.tflite": deployment.tflite}
    for name, content in deployment.files.items():
        files[FILE_NAMES.get(name, f"model.{name}")] = content
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            partial = folder / f"{name}.part"
            partial.write_bytes(content)
            os.replace(partial, folder / name)
    except OSError as error:
        raise DeviceError(f"{folder} cannot be written: {error.strerror or error}") from error
    return list(files)
