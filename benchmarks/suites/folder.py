"""The folder of a suite: one runner at a time, one version of the suite, files whole or not there.

Everything that is written is written beside its place and then put there, so that a reader, or
the next run after ``kill -9``, finds a whole file or none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.suites.machine import machine
from benchmarks.suites.suite import Suite
from benchmarks.versions import versions
from emnas_gym.errors import StoreError
from emnas_gym.ownership import Ownership

AGAIN = "the same command goes on from what is stored"


def run_folder(folder: Path, env: str, agent: str, seed: int) -> Path:
    """Where a run stores its history and its result."""
    return folder / env / agent / f"seed-{seed}"


def write_text(path: Path, text: str) -> None:
    """Writes a file whole.

    Raises:
        StoreError: If it cannot be written, e.g. on a full disk.
    """
    partial = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error}; make room, then {AGAIN}") from error


def write_json(path: Path, data: object) -> None:
    """Writes a JSON file whole.

    Raises:
        StoreError: If it cannot be written.
    """
    write_text(path, json.dumps(data, indent=1, allow_nan=False))


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object; None if the file is not there.

    Raises:
        StoreError: If it is damaged.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path} is damaged ({error}); remove it to make it anew") from error
    if not isinstance(data, dict):
        raise StoreError(f"{path} is damaged (no JSON object); remove it to make it anew")
    return data


@contextmanager
def claimed(folder: Path, suite: Suite, command: str) -> Iterator[None]:
    """Owns the folder of a suite while it runs.

    Args:
        folder: Of the suite.
        suite: What is to run in it.
        command: That started it; recorded the first time.

    Raises:
        StoreError: If another process runs in it, it holds another version of the suite, or it
            cannot be written.
    """
    path = folder / "suite.json"
    owner = Ownership(path)
    try:
        data = json.loads(json.dumps(suite.to_json()))
        stored = read_json(path)
        if stored is None:
            write_json(path, data)
        elif stored != data:
            raise StoreError(
                f"{folder} holds another version of the suite (other {_differing(stored, data)}); "
                "give another --out, or remove the folder to start anew"
            )
        if read_json(folder / "about.json") is None:
            write_json(folder / "about.json", _about(command))
        yield
    finally:
        owner.release()


def _differing(one: dict[str, Any], other: dict[str, Any]) -> str:
    return ", ".join(key for key in {**one, **other} if one.get(key) != other.get(key))


def _about(command: str) -> dict[str, Any]:
    return {
        "command": command,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
    }


def stored_suite(folder: Path) -> Suite:
    """The suite that a folder is of.

    Raises:
        StoreError: If no suite was begun there, or its file is damaged.
    """
    data = read_json(folder / "suite.json")
    if data is None:
        raise StoreError(
            f"{folder}: no suite was begun there; run `python -m benchmarks run SUITE` first, and "
            "give the folder of the suite, e.g. runs/bench/first"
        )
    try:
        return Suite.from_json(data)
    except (KeyError, TypeError) as error:
        raise StoreError(
            f"{folder / 'suite.json'} is damaged, or of an older version ({error!r}); remove the "
            "folder to start anew"
        ) from error
