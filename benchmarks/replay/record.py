"""What a result file claims: winners, and the world in which they were measured.

Nothing in such a file is believed: sizes and types are checked here, names of code are refused
where an environment is made of it (`benchmarks.replay.world`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from emnas_gym.errors import StoreError
from emnas_gym.measurement import FIELDS

MAX_BYTES = 512 << 20  # of a file from outside
MAX_TOKENS = 10_000  # of one network


@dataclass(frozen=True)
class Record:
    """The world of a search as a file tells it.

    Attributes:
        file: Where it was read.
        problem: What `Problem.to_json` wrote.
        evaluator: Name of the evaluator.
        rests_on: Fingerprints and recipe of the evaluator; empty where nobody wrote them down.
        env: Registered id; empty where the problem alone is known.
        keywords: Of the environment, besides those of its id.
        versions: Of the packages; empty where unknown.
        machine: What it ran on; empty where unknown.
    """

    file: Path
    problem: Mapping[str, Any]
    evaluator: str
    rests_on: Mapping[str, Any] = field(default_factory=dict)
    env: str = ""
    keywords: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, Any] = field(default_factory=dict)
    machine: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Verified:
    """What the trainings of a winner are said to have given.

    Attributes:
        reward: Of the mean test accuracy.
        mean: Mean test accuracy.
        accuracies: Test accuracy per seed; empty where only the mean was kept.
        trainings: Their number; the seeds are 0, 1, 2, …
    """

    reward: float
    mean: float
    accuracies: tuple[float, ...]
    trainings: int


@dataclass(frozen=True)
class Claim:
    """One winner.

    Attributes:
        label: What people call it.
        record: Its world.
        tokens: Its tokens, the end token included.
        reward: What it is said to be worth.
        measurement: Measured fields by name; empty where the file has none.
        seed: Of its search; None where unknown.
        history: The search's ``history.sqlite``; None where it is not there.
        verified: Trainings; None where there were none.
    """

    label: str
    record: Record
    tokens: tuple[int, ...]
    reward: float
    measurement: Mapping[str, Any]
    seed: int | None = None
    history: Path | None = None
    verified: Verified | None = None


class Reader:
    """Reads plain data of one file; every complaint names the file and the place.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def fail(self, where: str, message: str) -> NoReturn:
        """Says what is wrong.

        Raises:
            StoreError: Always.
        """
        raise StoreError(f"{self.path}: {where}: {message}")

    def text(self) -> str:
        """The whole file.

        Raises:
            StoreError: If it is not there, too large, or no text.
        """
        try:
            if self.path.stat().st_size > MAX_BYTES:
                self.fail("size", f"more than {MAX_BYTES >> 20} MiB is no result of ours")
            return self.path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(f"{self.path}: cannot be read: {error}") from error

    def json(self, text: str, where: str = "content") -> dict[str, Any]:
        """One JSON object of finite numbers.

        Raises:
            StoreError: If it is something else.
        """
        try:
            data = json.loads(text, parse_constant=lambda name: self.fail(where, f"{name} stands"))
        except (ValueError, RecursionError) as error:
            raise StoreError(f"{self.path}: {where}: damaged or cut off: {error}") from error
        return self.table(data, where)

    def table(self, value: object, where: str) -> dict[str, Any]:
        """A JSON object."""
        if not isinstance(value, dict):
            self.fail(where, f"is a table, not {_short(value)}")
        return value

    def rows(self, value: object, where: str) -> list[dict[str, Any]]:
        """A list of JSON objects."""
        if not isinstance(value, list):
            self.fail(where, f"is a list, not {_short(value)}")
        return [self.table(row, f"{where}[{i}]") for i, row in enumerate(value)]

    def name(self, data: Mapping[str, Any], key: str, where: str) -> str:
        """A text that is not empty."""
        value = data.get(key)
        if not isinstance(value, str) or not value:
            self.fail(f"{where}.{key}", f"is a name, not {_short(value)}")
        return value

    def number(self, data: Mapping[str, Any], key: str, where: str) -> float:
        """A finite number."""
        value = data.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.fail(f"{where}.{key}", f"is a number, not {_short(value)}")
        if not math.isfinite(value):
            self.fail(f"{where}.{key}", "is not finite")
        return value

    def whole(self, data: Mapping[str, Any], key: str, where: str) -> int:
        """A whole number from 0."""
        value = data.get(key)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
            self.fail(f"{where}.{key}", f"is a whole number from 0, not {_short(value)}")
        return value

    def tokens(self, value: object, where: str) -> tuple[int, ...]:
        """Token ids; whether they are a network, the environment decides."""
        if not isinstance(value, Sequence) or isinstance(value, str) or not value:
            self.fail(where, f"tokens are a list of whole numbers, not {_short(value)}")
        if len(value) > MAX_TOKENS:
            self.fail(where, f"{len(value)} tokens are no network")
        if not all(type(token) is int for token in value):
            self.fail(where, f"tokens are whole numbers, not {_short(value)}")
        return tuple(value)

    def measurement(self, data: Mapping[str, Any], where: str) -> dict[str, Any]:
        """The measured fields that are known, with where they come from."""
        known: dict[str, Any] = {
            name: self.number(data, name, where) for name in FIELDS if name in data
        }
        origin = self.table(data.get("provenance", {}), f"{where}.provenance")
        provenance = {name: str(origin.get(name, "")) for name in known}
        feasible = {"feasible": data["feasible"]} if type(data.get("feasible")) is bool else {}
        return known | feasible | {"provenance": provenance}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."
