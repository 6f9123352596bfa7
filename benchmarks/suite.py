"""Suites: which agents are compared, on what, with how many evaluations and seeds."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from emnas_gym.errors import EmNASError, UnknownName, nearest

_KEYS = {"name", "env", "evaluations", "seeds", "baseline", "verify_seeds", "agents"}
_LEAST = {"evaluations": 1, "seeds": 1, "verify_seeds": 0}
_AGENT_KEYS = {"label", "agent", "options"}


@dataclass(frozen=True)
class Entry:
    """One agent of a suite.

    Attributes:
        label: Name in tables.
        agent: Registered name.
        options: Hyperparameters that differ from the defaults.
    """

    label: str
    agent: str
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Suite:
    """What is compared.

    Attributes:
        name: Of the suite.
        env: Registered environment.
        evaluations: Of every run.
        seeds: Runs of every agent.
        baseline: Label against which the others are tested.
        verify_seeds: Trainings of each run's winner; 0 verifies none.
        agents: Who takes part.
    """

    name: str
    env: str
    evaluations: int
    seeds: int
    baseline: str
    verify_seeds: int
    agents: tuple[Entry, ...]


def load_suite(name: str, seeds: int | None = None, evaluations: int | None = None) -> Suite:
    """Loads a suite by name or path.

    Args:
        name: Name of a suite of the project, or path of a TOML file.
        seeds: Replaces the number of the file.
        evaluations: Replaces the number of the file.

    Raises:
        UnknownName: If there is no such suite.
        EmNASError: If the file has a wrong key, or one is missing.
    """
    folder = Path(str(resources.files("benchmarks").joinpath("suites")))
    path = Path(name) if name.endswith(".toml") else folder / f"{name}.toml"
    if not path.is_file():
        raise UnknownName("suite", name, [p.stem for p in folder.glob("*.toml")])
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EmNASError(f"{path}: is not TOML: {error}") from error
    _check_keys(path, data, _KEYS, _KEYS - {"verify_seeds"})
    _check_values(path, data)
    agents = tuple(Entry(**entry) for entry in data.pop("agents"))
    labels = [entry.label for entry in agents]
    if len(set(labels)) < len(labels) or data["baseline"] not in labels:
        raise EmNASError(f"{path}: labels are distinct, and the baseline is one of them: {labels}")
    changes = {"seeds": seeds, "evaluations": evaluations}
    data |= {key: value for key, value in changes.items() if value is not None}
    for key in _LEAST:
        _check_count(path, key, data.get(key, 0))
    return Suite(agents=agents, **({"verify_seeds": 0} | data))


def _check_values(path: Path, data: dict[str, Any]) -> None:
    """Checks the kinds of values; labels become names of folders, and must not leave theirs."""
    entries = data["agents"]
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise EmNASError(f"{path}: agents is one or more [[agents]] tables")
    for entry in entries:
        _check_keys(path, entry, _AGENT_KEYS, {"label", "agent"})
        if not isinstance(entry.get("options", {}), dict):
            raise EmNASError(f"{path}: options of {entry['label']!r} is a table")
    names = [data[key] for key in ("name", "env", "baseline")]
    for name in [*names, *(entry[key] for entry in entries for key in ("label", "agent"))]:
        if not isinstance(name, str) or not name:
            raise EmNASError(f"{path}: {name!r} is no name")
    for name in [data["name"], *(entry["label"] for entry in entries)]:
        if Path(name).name != name or name == "..":
            raise EmNASError(f"{path}: {name!r} cannot be the name of a folder")


def _check_count(path: Path, key: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < _LEAST[key]:
        raise EmNASError(f"{path}: {key} is a whole number from {_LEAST[key]}, not {value!r}")


def _check_keys(path: Path, table: dict[str, Any], known: set[str], needed: set[str]) -> None:
    for key in table:
        if key not in known:
            raise EmNASError(f"{path}: unknown key {key!r}{nearest(key, known)}")
    if missing := needed - set(table):
        raise EmNASError(f"{path}: {', '.join(sorted(missing))} is missing")
