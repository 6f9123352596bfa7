"""What the commands of this folder share: the application and its tables."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from emnas_gym.door import print_json

console = Console()
notes = Console(stderr=True)
Json = Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")]


app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Everything that touches a device: boards, .tflite files, latencies.",
)


def show(facts: dict[str, Any], as_json: bool) -> None:
    """Prints facts as one JSON object or as a table."""
    if as_json:
        print_json(facts)
        return
    table = table_of("fact", "value")
    for key, value in facts.items():
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
        table.add_row(key, escape(text))
    console.print(table)


def table_of(*names: str) -> Table:
    """A table that cuts nothing off, so that commands and names can be copied from it."""
    first, *others = names
    columns = [Column(first, no_wrap=True), *(Column(name, overflow="fold") for name in others)]
    return Table(*columns, box=SIMPLE_HEAD)
