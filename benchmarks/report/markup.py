"""What every page is filled with: templates in which all is escaped, and cells of Markdown."""

from __future__ import annotations

import base64
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

TEMPLATES = Path(__file__).parent / "templates"


def page_environment() -> Environment:
    """What turns templates into pages: all is escaped, and nothing may be undefined."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = _data_uri
    return environment


def _data_uri(text: str, kind: str = "text/csv") -> str:
    coded = base64.b64encode(text.encode()).decode()
    return f"data:{kind};charset=utf-8;base64,{coded}"


def plain_markdown(text: str) -> str:
    """Text that stays inside its cell and is no markup."""
    safe = "".join(c if c.isprintable() else " " for c in text)
    return safe.replace("|", "\\|").replace("<", "&lt;").replace("`", "'")
