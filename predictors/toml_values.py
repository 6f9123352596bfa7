"""Writes fitted numbers into a TOML file that people write: comments and order stay."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from emnas_gym.errors import EmNASError


def replace_values(path: Path, section: str, values: Mapping[str, float]) -> None:
    """Replaces numbers of one section; each key must be there already.

    Args:
        path: The file.
        section: Name of the table, e.g. ``"device.stm32f446re"``.
        values: Key → new number.

    Raises:
        EmNASError: If the section or a key is missing.
    """
    text = path.read_text(encoding="utf-8")
    head, found, rest = text.partition(f"[{section}]\n")
    if not found:
        raise EmNASError(f"{path}: no section [{section}]")
    body, cut, tail = rest.partition("\n[")
    for key, value in values.items():
        body, count = re.subn(rf"(?m)^{re.escape(key)} = .*$", f"{key} = {value!r}", body)
        if count != 1:
            raise EmNASError(f"{path}: [{section}] has {count} lines of {key}, not one")
    path.write_text(head + found + body + cut + tail, encoding="utf-8")
