"""Commands on results that are there: replay them, report them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from benchmarks.replay.files import read_claims
from benchmarks.replay.validate import Demand, Verdict
from benchmarks.replay.validate import validate as validate_claims
from benchmarks.replay.world import Given
from benchmarks.report.folder import folder_markdown, report_folder
from emnas_gym.door import FAILED, print_json

console = Console(stderr=True)


def validate(
    file: Annotated[
        Path,
        typer.Argument(help="summary.json, result.json, history.sqlite or evaluations.jsonl."),
    ],
    top: Annotated[
        int, typer.Option(help="Best networks of a history or of JSON lines; 0 is all.", min=0)
    ] = 5,
    verified: Annotated[bool, typer.Option(help="Train verified winners again.")] = False,
    search: Annotated[bool, typer.Option(help="Let the agents ask again as recorded.")] = False,
    exact: Annotated[
        bool, typer.Option(help="Trainings must give equal bits: on the machine of the file.")
    ] = False,
    evaluator: Annotated[
        str | None, typer.Option(help="Your own, module:Class: no code that a file names is run.")
    ] = None,
    space: Annotated[Path | None, typer.Option(help="TOML file of your own space.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdicts as JSON.")] = False,
) -> None:
    """Replays the winners of a result: the same tokens must give the same rewards (exit code 1)."""
    claims, notes = read_claims(file, top)
    for note in notes:
        console.print(f"[dim]{note}[/dim]")
    demand = Demand(verified, search, exact, Given(evaluator, space))
    with Progress(TextColumn("replaying"), BarColumn(), console=console) as bar:
        task = bar.add_task("replaying", total=len(claims))
        verdicts = validate_claims(claims, demand, lambda: bar.advance(task))
    failed = sum(not verdict.held for verdict in verdicts)
    if as_json:
        checks = [verdict.to_json() for verdict in verdicts]
        print_json({"file": str(file), "held": not failed, "notes": notes, "checks": checks})
    else:
        _show_verdicts(verdicts)
    if failed:
        raise typer.Exit(FAILED)


def _show_verdicts(verdicts: Sequence[Verdict]) -> None:
    table = Table("winner", "check", "recorded", "replayed", "", "how, or why not")
    for verdict in verdicts:
        numbers = [
            "" if value is None else f"{value:.6f}"
            for value in (verdict.recorded, verdict.replayed)
        ]
        held = "held" if verdict.held else "[red]failed[/red]"
        table.add_row(verdict.winner, verdict.check, *numbers, held, escape(verdict.reason))
    Console().print(table)
    count = sum(verdict.held for verdict in verdicts)
    Console().print(f"{count} of {len(verdicts)} checks held")


def report(
    folder: Annotated[Path, typer.Argument(help="Folder of a search, or of a suite.")],
    markdown: Annotated[
        str | None, typer.Option(help="Write the tables as Markdown to a file; - prints them.")
    ] = None,
) -> None:
    """Writes report.html from what is there: summary.json of a search, or runs of a suite."""
    if markdown is None:
        console.print(f"report: {report_folder(folder)}")
    elif markdown == "-":
        typer.echo(folder_markdown(folder), nl=False)
    else:
        Path(markdown).write_text(folder_markdown(folder), encoding="utf-8")
        console.print(f"tables: {markdown}")
