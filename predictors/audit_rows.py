"""What an audit writes down: one row an evaluation, in a file that grows line by line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emnas_gym.errors import StoreError

MAX_BYTES = 256 << 20


@dataclass(frozen=True)
class AuditRow:
    """One evaluation.

    Attributes:
        index: Its number among the different networks that were asked, from 0.
        tokens: Canonical tokens of the network.
        predicted: Accuracy that the predictor gave, uncorrected.
        deviation: Its doubt, uncorrected.
        answered: Accuracy that was answered; None where the answer was a failure.
        verified: Accuracy that the truth gave; None where it was not asked, or failed.
        asked: Whether the truth was asked.
        best: Whether it promised a higher reward than all before.
        reward: Reward that was promised before anything was verified.
        failure: Why there is no answer; empty where there is one.
    """

    index: int
    tokens: tuple[int, ...]
    predicted: float | None
    deviation: float | None
    answered: float | None
    verified: float | None
    asked: bool
    best: bool
    reward: float | None
    failure: str = ""


class AuditRows:
    """The rows so far, in memory and, where there is a path, in a file of JSON lines.

    Args:
        path: File that grows; what it holds is read first. None keeps them in memory.
        about: What makes two audits the same; a file of another one is refused.

    Raises:
        StoreError: If the file is damaged, or of another audit.
    """

    def __init__(self, path: Path | None = None, about: dict[str, Any] | None = None) -> None:
        self.path = path
        self._about = json.loads(json.dumps(about or {}))
        self.rows: list[AuditRow] = []
        if path is not None and path.exists():
            self._read(path)
        elif path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(self._about) + "\n", encoding="utf-8")

    def _read(self, path: Path) -> None:
        if path.stat().st_size > MAX_BYTES:
            raise StoreError(f"{path}: more than {MAX_BYTES} bytes are no audit")
        try:
            text = path.read_text(encoding="utf-8")
            lines = text.splitlines()
            about, rows = json.loads(lines[0]), [json.loads(line) for line in lines[1:-1]]
            if len(lines) > 1 and text.endswith("\n"):
                rows.append(json.loads(lines[-1]))
            self.rows = [AuditRow(**row | {"tokens": tuple(row["tokens"])}) for row in rows]
        except (ValueError, KeyError, TypeError, IndexError) as error:
            raise StoreError(f"{path} is damaged ({error!r}); remove it") from error
        if about != self._about:
            raise StoreError(f"{path} is of another audit: {about}; take another folder")
        if [row.index for row in self.rows] != list(range(len(self.rows))):
            raise StoreError(f"{path} is damaged (rows are missing); remove it")
        if not text.endswith("\n"):  # the last line was cut off: it was never answered
            self._rewrite(path)

    def _rewrite(self, path: Path) -> None:
        partial = path.with_suffix(".part")
        lines = [json.dumps(self._about), *(json.dumps(asdict(row)) for row in self.rows)]
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
        partial.replace(path)

    def append(self, row: AuditRow) -> None:
        """Adds a row, and writes it before anything else happens."""
        self.rows.append(row)
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(row)) + "\n")

    def replace(self, row: AuditRow) -> None:
        """Puts a row in the place of the one with its index."""
        self.rows[row.index] = row
        if self.path is not None:
            self._rewrite(self.path)


def bias(rows: Sequence[AuditRow]) -> tuple[float, float, int]:
    """Mean of predicted − verified accuracy, its standard error, and how many were verified."""
    errors = [
        row.predicted - row.verified
        for row in rows
        if row.verified is not None and row.predicted is not None
    ]
    if not errors:
        return 0.0, 0.0, 0
    deviation = float(np.std(errors, ddof=1)) if len(errors) > 1 else 0.0
    return float(np.mean(errors)), deviation / len(errors) ** 0.5, len(errors)
