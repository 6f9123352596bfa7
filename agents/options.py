"""Hyperparameters on the command line: read from their dataclass, so that help cannot drift."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from agents.base import Config, OptionError


@dataclass(frozen=True)
class Option:
    """One hyperparameter as a person sees it.

    Attributes:
        name: Name of the field.
        type: Name of its type.
        default: Its default.
        help: The line of documentation below the field.
    """

    name: str
    type: str
    default: Any
    help: str


def describe_options(config_type: type[Config]) -> list[Option]:
    """The hyperparameters of an agent, those of base classes first."""
    lines: dict[str, str] = {}
    for base in reversed(config_type.__mro__):
        if issubclass(base, Config):
            lines |= _field_lines(base)
    return [
        Option(f.name, type(f.default).__name__, f.default, lines.get(f.name, ""))
        for f in fields(config_type)
    ]


def _field_lines(config_type: type[Config]) -> dict[str, str]:
    """The text that stands below each field in the source of a dataclass."""
    try:
        source = textwrap.dedent(inspect.getsource(config_type))
    except (OSError, TypeError):  # made at run time: there is no source to read
        return {}
    (body,) = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    lines = {}
    for node, below in zip(body.body, body.body[1:], strict=False):
        if not isinstance(node, ast.AnnAssign) or not isinstance(node.target, ast.Name):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            lines[node.target.id] = str(below.value.value)
    return lines


def parse_options(texts: Sequence[str]) -> dict[str, Any]:
    """Reads ``name=value`` pairs; a value is JSON where it can be, else a text.

    Raises:
        OptionError: If a pair has no name or no value.
    """
    options: dict[str, Any] = {}
    for text in texts:
        name, _, value = text.partition("=")
        if not name.strip() or not value.strip():
            raise OptionError(f"--option {text!r}: expected name=value, e.g. batch=32")
        try:
            options[name.strip()] = json.loads(value)
        except ValueError:
            options[name.strip()] = value.strip()
    return options


def parse_limits(texts: Sequence[str]) -> dict[str, float]:
    """Reads ``name=number`` pairs, limits of budgets.

    Raises:
        OptionError: If a pair is not of this form.
    """
    limits: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            limits[name.strip()] = float(value) if "." in value else int(value)
        except ValueError as error:
            message = f"--budget {text!r}: expected name=number, e.g. ram_bytes=8192"
            raise OptionError(message) from error
    return limits
