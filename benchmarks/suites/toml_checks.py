"""What TOML files of comparisons share: plain tables, whole numbers, labels that can be folders."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emnas_gym.errors import EmNASError, nearest

MAX_BYTES = 1 << 20
LABEL = re.compile(r"\w([\w .,+=()-]*[\w)+])?")  # what every file system takes as a folder
LONGEST = 64
KEPT = ("weights", ".json", ".part", ".lock", ".html", ".sqlite")  # files of the runner


def parse(path: Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        EmNASError: If it cannot be read, is too large, or is not TOML.
    """
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


def tables(path: Path, data: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """The tables of ``[[key]]``, one or more.

    Raises:
        EmNASError: If they are something else.
    """
    found = data[key]
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        raise EmNASError(f"{path}: {key} is one or more [[{key}]] tables")
    return found


def plain(path: Path, where: str, key: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """A table of what JSON can hold, since it is recorded as that.

    Raises:
        EmNASError: If it holds anything else.
    """
    value = table.get(key, {})
    if not isinstance(value, dict):
        raise EmNASError(f"{path}: {where}: {key} is a table, not {value!r}")
    try:
        plain: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise EmNASError(f"{path}: {where}: {key} are plain finite values: {error}") from error
    return plain


def check_folder_name(path: Path, name: object) -> None:
    """Refuses names that would leave their folder, or that a file of the runner has.

    Raises:
        EmNASError: Saying which characters a name has.
    """
    if not isinstance(name, str) or not name:
        raise EmNASError(f"{path}: {name!r} is no name")
    if not LABEL.fullmatch(name) or len(name) > LONGEST:
        raise EmNASError(
            f"{path}: {name!r} cannot be the name of a folder: letters, digits and any of "
            f"' .,+=()_-' inside, {LONGEST} characters at most"
        )
    if name.casefold().endswith(KEPT):
        raise EmNASError(f"{path}: {name!r} is the name of a file of the runner; choose another")


def distinct(path: Path, tables: list[dict[str, Any]], same: tuple[str, ...]) -> list[str]:
    """Labels, which differ even where a file system does not know large letters from small.

    Raises:
        EmNASError: If two tables have one label, or are the same.
    """
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


def check_counts(
    path: Path, where: str, table: Mapping[str, Any], counts: Mapping[str, tuple[int, int]]
) -> None:
    """Refuses what is no whole number from the least to the largest that it may be.

    Raises:
        EmNASError: Naming file, place and key.
    """
    for key in counts.keys() & table.keys():
        least, most = counts[key]
        value = table[key]
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            place = f"{where}: " if where else ""
            raise EmNASError(
                f"{path}: {place}{key} is a whole number from {least} to {most}, not {value!r}"
            )


def check_keys(
    path: Path, part: str, table: dict[str, Any], known: set[str], needed: set[str]
) -> None:
    """Refuses keys that are not known, naming the nearest, and keys that are missing.

    Raises:
        EmNASError: Naming file, table and key.
    """
    place = f"[[{part}]]: " if part else ""
    for key in table:
        if key not in known:
            raise EmNASError(f"{path}: {place}unknown key {key!r}{nearest(key, known)}")
    if missing := needed - set(table):
        raise EmNASError(f"{path}: {place}{', '.join(sorted(missing))} is missing")
