"""Files of tuned hyperparameters: which agent, its options, and how they were found."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.base import OptionError

SHIPPED = Path(__file__).parent / "tuned"
LARGEST_BYTES = 1 << 16
Value = int | float | bool | str


@dataclass(frozen=True)
class Tuned:
    """A configuration as a file has it.

    Attributes:
        agent: Registered name, or import string.
        options: Hyperparameters that differ from the defaults.
        tuning: How they were found, and what they reached: plain values by name.
    """

    agent: str
    options: Mapping[str, Value]
    tuning: Mapping[str, Value] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Writes the file."""
        lines = [f"agent = {json.dumps(self.agent)}", ""]
        for name, values in (("options", self.options), ("tuning", self.tuning)):
            lines += [f"[{name}]", *(f"{key} = {json.dumps(v)}" for key, v in values.items()), ""]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


def read_tuned(path: str | Path) -> Tuned:
    """Reads a file of options, ours by its name.

    Args:
        path: Of a TOML file with ``agent`` and ``[options]``; or the name of an agent that is
            shipped with one.

    Raises:
        OptionError: If there is no such file, it is too large, or it cannot be understood.
    """
    shipped = SHIPPED / f"{path}.toml"
    found = shipped if Path(path).name == str(path) and shipped.is_file() else Path(path)
    try:
        if found.stat().st_size > LARGEST_BYTES:
            raise OptionError(f"{found}: a file of options has {LARGEST_BYTES} bytes at most")
        content = tomllib.loads(found.read_text(encoding="utf-8"))
    except OSError as error:
        ours = ", ".join(sorted(file.stem for file in SHIPPED.glob("*.toml"))) or "none"
        message = f"{path}: no such file of options ({error.strerror}); shipped: {ours}"
        raise OptionError(message) from error
    except ValueError as error:
        raise OptionError(f"{found}: no TOML: {error}") from error
    unknown = content.keys() - {"agent", "options", "tuning"}
    if unknown:
        raise OptionError(f"{found}: unknown {sorted(unknown)}; known: agent, options, tuning")
    agent = content.get("agent")
    if not isinstance(agent, str) or not agent:
        raise OptionError(f'{found}: agent = "NAME" is missing')
    return Tuned(agent, _plain(found, content, "options"), _plain(found, content, "tuning"))


def _plain(path: Path, content: Mapping[str, Any], section: str) -> dict[str, Value]:
    values = content.get(section, {})
    if not isinstance(values, dict):
        raise OptionError(f"{path}: [{section}] is a table of names and values")
    for key, value in values.items():
        if not isinstance(value, (int, float, bool, str)):
            raise OptionError(f"{path}: {section}.{key} is a number, a text, true or false")
    return values
