"""The door of `agents`: who can search, with which hyperparameters, and a search itself."""

from __future__ import annotations

import inspect
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from agents.options import describe_options
from agents.runs import make_agent
from agents.search_command import Json, search
from agents.tune_command import tune_command
from emnas_gym.door import print_json, run_door
from emnas_gym.errors import BackendMissing
from emnas_gym.registry import names, resolve

app = typer.Typer(
    no_args_is_help=True,
    help="Everything that searches. Start with `list`, then `describe reinforce`, then `search`.",
)
console = Console()


def main() -> None:
    """Runs the command line."""
    run_door(app, "All that was measured is saved; the same command goes on from there.")


@app.command("list")
def list_command(as_json: Json = False) -> None:
    """Lists the agents, one sentence each."""
    rows = [{"name": name, "summary": _summary(name)} for name in names("agent")]
    if as_json:
        print_json({"agents": rows})
        return
    table = Table("agent", "what it does", box=None, header_style="bold")
    for row in rows:
        table.add_row(row["name"], escape(row["summary"]))
    console.print(table)


@app.command()
def describe(
    agent: Annotated[str, typer.Argument(help="Name of an agent: see `list`.")],
    as_json: Json = False,
) -> None:
    """Explains an agent and its hyperparameters, which `search --option name=value` changes."""
    made = make_agent(agent)
    options = describe_options(made.config_type)
    text = inspect.getdoc(type(made)) or made.summary
    if as_json:
        found = [asdict(option) for option in options]
        print_json({"name": made.name, "summary": made.summary, "text": text, "options": found})
        return
    for paragraph in text.partition("\n\nAttributes:")[0].split("\n\n"):
        console.print(escape(" ".join(paragraph.split())), end="\n\n")
    table = Table("option", "type", "default", "what it is", box=None, header_style="bold")
    for option in options:
        table.add_row(option.name, option.type, f"{option.default}", escape(option.help))
    console.print(table)


app.command()(search)
app.command("tune")(tune_command)


def _summary(name: str) -> str:
    try:
        return str(resolve("agent", name).summary)
    except BackendMissing as error:
        return f"not available: {error}"
