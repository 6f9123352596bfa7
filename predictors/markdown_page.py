"""Fills a page of Markdown with figures: a name that they lack is an error, never a gap."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def fill(template: Path, filters: Mapping[str, Callable[[Any], str]], **values: Any) -> str:  # noqa: ANN401
    """The text of a template.

    Args:
        template: File of the template, one of our own.
        filters: How values are written, by name.
        values: What the template names; figures of ours, not escaped.

    Raises:
        jinja2.UndefinedError: If the template names what is not there.
    """
    env = Environment(
        loader=FileSystemLoader(template.parent),
        undefined=StrictUndefined,
        autoescape=False,  # Markdown
        keep_trailing_newline=True,
    )
    env.filters |= filters
    return env.get_template(template.name).render(**values)
