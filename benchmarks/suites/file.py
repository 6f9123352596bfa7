"""Reads a suite's TOML file and refuses whatever is no suite, naming the file and the key."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from benchmarks.suites.toml_checks import (
    check_counts,
    check_folder_name,
    check_keys,
    distinct,
    parse,
    plain,
    tables,
)
from emnas_gym.errors import EmNASError, nearest

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
OF_THE_AGENT = {"observation", "on_invalid", "render_mode", "autoreset_mode"}


def read_suite_file(path: Path, changes: Mapping[str, int | None]) -> dict[str, Any]:
    """What a file says, checked and with all defaults filled in.

    Args:
        path: The TOML file.
        changes: Numbers that replace those of the file, where they are not None.

    Raises:
        EmNASError: If the file is no suite; says what, where and what was perhaps meant.
    """
    data = parse(path)
    check_keys(path, "", data, KEYS | TABLES, {"name", "seeds"} | TABLES)
    given = {key: value for key, value in changes.items() if value is not None}
    if "evaluations" in given:
        for one in tables(path, data, "environments"):
            one.pop("evaluations", None)
    data |= given
    check_counts(path, "", data, COUNTS)
    check_folder_name(path, data["name"])
    if not isinstance(data.setdefault("title", data["name"]), str):
        raise EmNASError(f"{path}: title is a text, not {data['title']!r}")
    inherited = {k: data.pop(k) for k in ("evaluations", "verify_seeds") if k in data}
    environments = tables(path, data, "environments")
    data["environments"] = [_environment(path, inherited | one) for one in environments]
    labels = distinct(path, data["environments"], ("env", "keywords", "evaluations"))
    data["agents"] = [_agent(path, one, labels) for one in tables(path, data, "agents")]
    distinct(path, data["agents"], ("agent", "options"))
    return data


def _environment(path: Path, table: dict[str, Any]) -> dict[str, Any]:
    check_keys(path, "environments", table, ENVIRONMENT, {"label", "env"})
    where = f"environment {table['label']!r}"
    if "evaluations" not in table:
        raise EmNASError(f"{path}: {where}: evaluations is missing, here and for the whole suite")
    check_counts(path, where, table, COUNTS)
    for key in ("env", "prepare"):
        if not isinstance(table.get(key, ""), str) or table.get(key) == "":
            raise EmNASError(f"{path}: {where}: {key} is a text, not {table[key]!r}")
    check_folder_name(path, table["label"])
    keywords = plain(path, where, "keywords", table)
    if taken := OF_THE_AGENT & set(keywords):
        raise EmNASError(
            f"{path}: {where}: {', '.join(sorted(taken))} is not the suite's to set: every agent "
            "chooses it for itself; see its options"
        )
    return {**table, "keywords": keywords}


def _agent(path: Path, table: dict[str, Any], environments: Collection[str]) -> dict[str, Any]:
    check_keys(path, "agents", table, AGENT, {"label", "agent"})
    where = f"agent {table['label']!r}"
    if not isinstance(table["agent"], str) or not table["agent"]:
        raise EmNASError(f"{path}: {where}: {table['agent']!r} is no name of an agent")
    check_folder_name(path, table["label"])
    only = table.get("only", [])
    if not isinstance(only, list) or not all(isinstance(label, str) for label in only):
        raise EmNASError(f"{path}: {where}: only is a list of labels of environments, not {only!r}")
    for label in only:
        if label not in environments:
            hint = nearest(label, environments)
            raise EmNASError(f"{path}: {where}: only: no environment {label!r}{hint}")
    if len(set(only)) < len(only):
        raise EmNASError(f"{path}: {where}: only names an environment twice: {only}")
    return {**table, "options": plain(path, where, "options", table), "only": only}
