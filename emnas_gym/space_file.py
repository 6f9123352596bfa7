"""Reads a search space from TOML; a typo is an error with file, key and nearest name."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from emnas_gym.checked_toml import CheckedToml, read_toml
from emnas_gym.layers import CHOICES, FIELDS, KINDS, REQUIRED, LayerSpec

MAX_TOKENS = 32_767  # ids are stored as int16
_INTEGERS = {"filters", "kernel", "stride", "units"}


def read_space_file(path: Path, data: dict[str, Any] | None = None) -> dict[str, Any]:
    """Reads and checks a space file.

    Args:
        path: A TOML file; the files of `emnas_gym.spaces` are the examples.
        data: What it holds; read from it if None.

    Returns:
        The fields of a `emnas_gym.grammar.Grammar`.

    Raises:
        SpaceFileError: If the file cannot be read or understood.
    """
    return _Reader(path).space(read_toml(path) if data is None else data)


class _Reader(CheckedToml):
    """Checks the file of a space of chains."""

    def space(self, data: dict[str, Any]) -> dict[str, Any]:
        known = {"name", "description", "min_layers", "max_layers", "rules", "tokens"}
        self.keys(data, "", known, {"name", "min_layers", "max_layers", "rules", "tokens"})
        self.text(data["name"], "name")
        shortest = self.integer(data["min_layers"], "min_layers")
        longest = self.integer(data["max_layers"], "max_layers")
        if not 2 <= shortest <= longest:
            raise self.fail(
                "max_layers", f"2 <= min_layers <= max_layers, not {shortest}, {longest}"
            )
        specs = self.tokens(data["tokens"])
        first, after = self.rules(data["rules"])
        if not any(spec.kind in first for spec in specs):
            raise self.fail("rules.first", "no token is of these kinds")
        return {
            "name": data["name"],
            "specs": specs,
            "min_layers": shortest,
            "max_layers": longest,
            "first": first,
            "after": after,
            "source": str(self.path),
        }

    def rules(self, table: object) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
        if not isinstance(table, dict):
            raise self.fail("rules", "is a table")
        self.keys(table, "rules.", {"first", "after"}, {"first"})
        after = table.get("after", {})
        if not isinstance(after, dict):
            raise self.fail("rules.after", "is a table: kind = [kinds]")
        self.keys(after, "rules.after.", set(KINDS), set())
        return (
            self.kinds(table["first"], "rules.first"),
            {kind: self.kinds(value, f"rules.after.{kind}") for kind, value in after.items()},
        )

    def kinds(self, value: object, key: str) -> tuple[str, ...]:
        if not isinstance(value, list) or not value:
            raise self.fail(key, "is a list of kinds that is not empty")
        return tuple(self.choice(item, key, KINDS) for item in value)

    def tokens(self, groups: object) -> tuple[LayerSpec, ...]:
        if not isinstance(groups, list) or not groups:
            raise self.fail("tokens", "is one or more [[tokens]] tables")
        specs = [
            spec for i, group in enumerate(groups) for spec in self.group(group, f"tokens[{i}].")
        ]
        if [spec.kind for spec in specs].count("output") != 1 or specs[-1].kind != "output":
            raise self.fail("tokens", "the last token, and no other, is of kind output")
        if len(specs) > MAX_TOKENS:
            raise self.fail("tokens", f"{len(specs)} tokens are more than {MAX_TOKENS}")
        return tuple(specs)

    def group(self, group: object, where: str) -> list[LayerSpec]:
        if not isinstance(group, dict) or "kind" not in group:
            raise self.fail(where + "kind", "is missing")
        kinds = group["kind"] if isinstance(group["kind"], list) else [group["kind"]]
        for kind in kinds:
            self.choice(kind, where + "kind", KINDS)
            self.keys(group, where, {"kind", *FIELDS[kind]}, set(REQUIRED[kind]))
        columns = [self.column(key, value, where + key) for key, value in group.items()]
        count = 1
        for column in columns:
            count *= len(column)
        if count > MAX_TOKENS:
            raise self.fail(where[:-1], f"stands for {count} tokens, more than {MAX_TOKENS}")
        rows = itertools.product(*columns)
        return [LayerSpec(**dict(zip(group, row, strict=True))) for row in rows]

    def column(self, key: str, value: object, where: str) -> list[Any]:
        if key == "pads":
            rows = value if isinstance(value, list) and value else [value]
            several = isinstance(rows[0], list)
            return [self.pads(item, where) for item in (rows if several else [value])]
        items = value if isinstance(value, list) else [value]
        if not items:
            raise self.fail(where, "the list is empty")
        return [self.value(key, item, where) for item in items]

    def value(self, key: str, value: object, where: str) -> object:
        if key in _INTEGERS:
            return self.integer(value, where)
        if key in CHOICES:
            return self.choice(value, where, CHOICES[key])
        if key == "batch_norm":
            if not isinstance(value, bool):
                raise self.fail(where, f"is true or false, not {value!r}")
            return value
        if key == "rate":
            if not isinstance(value, (int, float)) or not 0 <= value < 1:
                raise self.fail(where, f"is a number from 0 to below 1, not {value!r}")
            return float(value)
        return value

    def pads(self, value: object, where: str) -> tuple[int, ...]:
        sides = value if isinstance(value, list) else []
        if len(sides) != 4 or not all(type(v) is int and v >= 0 for v in sides):
            raise self.fail(where, f"is [top, bottom, left, right], not {value!r}")
        return tuple(sides)
