"""What was measured of each network, one line of JSON each, so that a long run can be resumed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from emnas_gym.errors import EmNASError, StoreError

MAX_BYTES = 64 << 20
Key = tuple[str, str]  # what was measured, tokens as text
Values = dict[str, Any]


class MeasuredLines:
    """A file of measured values that only grows; ``kill -9`` loses at most the last line.

    Args:
        path: The file; made where there is none.
        about: What decides the values (space, task, recipe); a file of others is refused.

    Raises:
        StoreError: If the file is of something else, or damaged.
    """

    def __init__(self, path: Path, about: Mapping[str, str]) -> None:
        self.path = path
        self._known: dict[Key, Values] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        head = json.dumps({"about": dict(about)}, sort_keys=True)
        if not path.exists() or not path.stat().st_size:
            path.write_text(head + "\n", encoding="utf-8")
        first, *rest = self._lines()
        if first != head:
            raise StoreError(
                f"{path}: was measured under other conditions; give another --cache or remove it"
            )
        for number, line in enumerate(rest, start=2):
            self._read(line, number)

    def _lines(self) -> list[str]:
        if self.path.stat().st_size > MAX_BYTES:
            raise StoreError(f"{self.path}: is larger than {MAX_BYTES} bytes; it is none of ours")
        try:
            text = self.path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise StoreError(f"{self.path}: is no text: {error}") from error
        whole, newline, cut = text.rpartition("\n")
        if cut:  # a line that was being written: it is measured again
            with self.path.open("r+b") as file:
                file.truncate(len((whole + newline).encode()))
        return whole.split("\n")

    def _read(self, line: str, number: int) -> None:
        try:
            row = json.loads(line)
            values = row["values"]
            if not isinstance(values, dict):
                raise TypeError("values are no table")
            self._known[str(row["what"]), str(row["tokens"])] = values
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(f"{self.path}, line {number}: is damaged: {error}") from error

    def get(self, what: str, tokens: Sequence[int], measure: Callable[[], Values]) -> Values:
        """What is known of a network; measured and stored first if it is not.

        A failure is stored as ``{"error": text}``.
        """
        key = (what, " ".join(map(str, tokens)))
        if key not in self._known:
            try:
                values = measure()
            except EmNASError as error:
                values = {"error": str(error)}
            line = json.dumps({"what": what, "tokens": key[1], "values": values}, allow_nan=False)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
                file.flush()
                os.fsync(file.fileno())
            self._known[key] = values
        return self._known[key]

    def __iter__(self) -> Iterator[Key]:
        """What was measured of which tokens."""
        return iter(self._known)
