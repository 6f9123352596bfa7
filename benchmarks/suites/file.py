"""Reads a suite's TOML file and refuses whatever is no suite, naming the file and the key."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from emnas_gym.errors import EmNASError, nearest

MAX_BYTES = 1 << 20
KEYS = {"name", "title", "seeds", "evaluations", "verify_seeds", "reference"}
TABLES = {"environments", "agents"}
ENVIRONMENT = {"label", "env", "evaluations", "keywords", "verify_seeds", "prepare"}
AGENT = {"label", "agent", "options", "only"}
COUNTS = {  # whole numbers: least and largest
    "seeds": (1, 10_000),
    "evaluations": (1, 10_000_000),
    "verify_seeds": (0, 100),
    "reference": (0, 1_000_000),
}
LABEL = re.compile(r"\w([\w .,+=()-]*[\w)+])?")  # what every file system takes as a folder
LONGEST = 64
KEPT = ("weights", ".json", ".part", ".lock", ".html", ".sqlite")  # files of the runner
OF_THE_AGENT = {"observation", "on_invalid", "render_mode", "autoreset_mode"}


def read_suite_file(path: Path, changes: Mapping[str, int | None]) -> dict[str, Any]:
    """What a file says, checked and with all defaults filled in.

    Args:
        path: The TOML file.
        changes: Numbers that replace those of the file, where they are not None.

    Raises:
        EmNASError: If the file is no suite; says what, where and what was perhaps meant.
    """
    data = _parse(path)
    _check_keys(path, "", data, KEYS | TABLES, {"name", "seeds"} | TABLES)
    given = {key: value for key, value in changes.items() if value is not None}
    if "evaluations" in given:
        for one in _tables(path, data, "environments"):
            one.pop("evaluations", None)
    data |= given
    _check_counts(path, "", data)
    _check_folder_name(path, data["name"])
    if not isinstance(data.setdefault("title", data["name"]), str):
        raise EmNASError(f"{path}: title is a text, not {data['title']!r}")
    inherited = {k: data.pop(k) for k in ("evaluations", "verify_seeds") if k in data}
    environments = _tables(path, data, "environments")
    data["environments"] = [_environment(path, inherited | one) for one in environments]
    labels = _distinct(path, data["environments"], ("env", "keywords", "evaluations"))
    data["agents"] = [_agent(path, one, labels) for one in _tables(path, data, "agents")]
    _distinct(path, data["agents"], ("agent", "options"))
    return data


def _parse(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise EmNASError(f"{path}: is larger than {MAX_BYTES} B, which no suite is")
        return tomllib.loads(content.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise EmNASError(f"{path}: is not TOML: {error}") from error
    except OSError as error:
        raise EmNASError(f"{path}: cannot be read: {error}") from error


def _tables(path: Path, data: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = data[key]
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        raise EmNASError(f"{path}: {key} is one or more [[{key}]] tables")
    return found


def _environment(path: Path, table: dict[str, Any]) -> dict[str, Any]:
    _check_keys(path, "environments", table, ENVIRONMENT, {"label", "env"})
    where = f"environment {table['label']!r}"
    if "evaluations" not in table:
        raise EmNASError(f"{path}: {where}: evaluations is missing, here and for the whole suite")
    _check_counts(path, where, table)
    for key in ("env", "prepare"):
        if not isinstance(table.get(key, ""), str) or table.get(key) == "":
            raise EmNASError(f"{path}: {where}: {key} is a text, not {table[key]!r}")
    _check_folder_name(path, table["label"])
    keywords = _plain(path, where, "keywords", table)
    if taken := OF_THE_AGENT & set(keywords):
        raise EmNASError(
            f"{path}: {where}: {', '.join(sorted(taken))} is not the suite's to set: every agent "
            "chooses it for itself; see its options"
        )
    return {**table, "keywords": keywords}


def _agent(path: Path, table: dict[str, Any], environments: Collection[str]) -> dict[str, Any]:
    _check_keys(path, "agents", table, AGENT, {"label", "agent"})
    where = f"agent {table['label']!r}"
    if not isinstance(table["agent"], str) or not table["agent"]:
        raise EmNASError(f"{path}: {where}: {table['agent']!r} is no name of an agent")
    _check_folder_name(path, table["label"])
    only = table.get("only", [])
    if not isinstance(only, list) or not all(isinstance(label, str) for label in only):
        raise EmNASError(f"{path}: {where}: only is a list of labels of environments, not {only!r}")
    for label in only:
        if label not in environments:
            hint = nearest(label, environments)
            raise EmNASError(f"{path}: {where}: only: no environment {label!r}{hint}")
    if len(set(only)) < len(only):
        raise EmNASError(f"{path}: {where}: only names an environment twice: {only}")
    return {**table, "options": _plain(path, where, "options", table), "only": only}


def _plain(path: Path, where: str, key: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """A table of what JSON can hold, since it is recorded as that."""
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise EmNASError(f"{path}: {where}: {key} is a table, not {value!r}")
    try:
        plain: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise EmNASError(f"{path}: {where}: {key} are plain finite values: {error}") from error
    return plain


def _check_folder_name(path: Path, name: object) -> None:
    """Refuses names that would leave their folder, or that a file of the runner has."""
    if not isinstance(name, str) or not name:
        raise EmNASError(f"{path}: {name!r} is no name")
    if not LABEL.fullmatch(name) or len(name) > LONGEST:
        raise EmNASError(
            f"{path}: {name!r} cannot be the name of a folder: letters, digits and any of "
            f"' .,+=()_-' inside, {LONGEST} characters at most"
        )
    if name.casefold().endswith(KEPT):
        raise EmNASError(f"{path}: {name!r} is the name of a file of the runner; choose another")


def _distinct(path: Path, tables: list[dict[str, Any]], same: tuple[str, ...]) -> list[str]:
    """Labels, which differ even where a file system does not know large letters from small."""
    labels = [table["label"] for table in tables]
    if len({label.casefold() for label in labels}) < len(labels):
        raise EmNASError(f"{path}: labels are distinct, not {labels}")
    seen: dict[str, str] = {}
    for table in tables:
        key = json.dumps([table[name] for name in same], sort_keys=True)
        if key in seen:
            raise EmNASError(
                f"{path}: {seen[key]!r} and {table['label']!r} are the same; remove one of them"
            )
        seen[key] = table["label"]
    return labels


def _check_counts(path: Path, where: str, table: Mapping[str, Any]) -> None:
    for key in COUNTS.keys() & table.keys():
        least, most = COUNTS[key]
        value = table[key]
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            place = f"{where}: " if where else ""
            raise EmNASError(
                f"{path}: {place}{key} is a whole number from {least} to {most}, not {value!r}"
            )


def _check_keys(
    path: Path, part: str, table: dict[str, Any], known: set[str], needed: set[str]
) -> None:
    place = f"[[{part}]]: " if part else ""
    for key in table:
        if key not in known:
            raise EmNASError(f"{path}: {place}unknown key {key!r}{nearest(key, known)}")
    if missing := needed - set(table):
        raise EmNASError(f"{path}: {place}{', '.join(sorted(missing))} is missing")
