"""A TOML file from outside, read key by key; every complaint names the file and the key."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from emnas_gym.errors import SpaceFileError, nearest


def read_toml(path: Path) -> dict[str, Any]:
    """Reads a file.

    Raises:
        SpaceFileError: If it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise SpaceFileError(f"{path}: cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise SpaceFileError(f"{path}: is not TOML: {error}") from error


class CheckedToml:
    """Checks one file.

    Args:
        path: Where it stands, for messages.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def fail(self, key: str, message: str) -> SpaceFileError:
        """The error of a key."""
        return SpaceFileError(f"{self.path}: {key}: {message}")

    def keys(self, table: Mapping[str, Any], where: str, known: set[str], needed: set[str]) -> None:
        """Refuses unknown keys and asks for those that are missing.

        Raises:
            SpaceFileError: Naming the first one of either kind.
        """
        for key in table:
            if key not in known:
                raise self.fail(where + key, f"unknown key{nearest(key, known)}")
        for key in sorted(needed - set(table)):
            raise self.fail(where + key, "is missing")

    def integer(self, value: object, key: str) -> int:
        """A whole number above 0.

        Raises:
            SpaceFileError: If it is none.
        """
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.fail(key, f"is a whole number above 0, not {value!r}")
        return value

    def text(self, value: object, key: str) -> str:
        """A text that is not empty.

        Raises:
            SpaceFileError: If it is none.
        """
        if not isinstance(value, str) or not value:
            raise self.fail(key, "is a text that is not empty")
        return value

    def choice(self, value: object, key: str, known: Iterable[str]) -> str:
        """One of the known values.

        Raises:
            SpaceFileError: If it is none; the nearest ones are listed.
        """
        names = tuple(known)
        if value not in names:
            raise self.fail(key, f"unknown value {value!r}{nearest(str(value), names)}")
        return str(value)
