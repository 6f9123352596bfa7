"""Command around audits: what doubting and verifying a predictor is worth to a search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable

from emnas_gym.door import print_json
from emnas_gym.errors import UnknownName
from predictors.audit_effect import REAL_ARMS, WORLDS, effect, trained
from predictors.audit_report import markdown, picture
from predictors.fitted import Figures
from predictors.metrics import rounded

COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
console = Console(stderr=True)


def register(app: typer.Typer) -> None:
    """Adds the command to the door of the folder."""
    app.command("audit")(audit)


def audit(
    seeds: Annotated[int, typer.Option(help="Searches of every arm.", min=2)] = 10,
    train: Annotated[
        int, typer.Option(help="Searches whose winners are really trained.", min=0)
    ] = 0,
    world: Annotated[
        list[str] | None, typer.Option(help="Which worlds; all if none. Can be repeated.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for audit.json, audit.md and the picture.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")] = False,
) -> None:
    """Shows what a search makes of a weak predictor, and what doubt and verification change."""
    names = world or list(WORLDS)
    for name in names:
        if name not in WORLDS:
            raise UnknownName("world", name, WORLDS)
    found: dict[str, Figures] = {}
    real: Figures | None = None
    with Progress(*COLUMNS, TimeRemainingColumn(), console=console) as progress:
        for name in names:
            bar = progress.add_task(name, total=seeds)
            found[name] = _rounded(effect(name, seeds, lambda bar=bar: progress.advance(bar)))  # type: ignore[misc]
        if train:
            bar = progress.add_task("trained", total=train * len(REAL_ARMS))
            real = _rounded(trained(train, advance=lambda: progress.advance(bar)))
    everything: dict[str, Any] = {"seeds": seeds, "worlds": found, "trained": real}
    if out is not None:
        _write(everything, out)
    if as_json:
        print_json(everything)
    else:
        _show(found)


def _rounded(figures: Figures) -> Figures:
    kept = rounded(figures, 5)
    assert isinstance(kept, dict)
    return kept


def _write(everything: dict[str, Any], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(everything, indent=1, allow_nan=False)
    (out / "audit.json").write_text(text + "\n", encoding="utf-8")
    page = markdown(everything["worlds"], everything["trained"])
    (out / "audit.md").write_text(page, encoding="utf-8")
    picture(everything["worlds"], out / "images" / "audit.png")


def _show(found: dict[str, Figures]) -> None:
    table = RichTable("world", "arm", "optimism", "verified", "gain over plain", "truths")
    for name, figures in found.items():
        for arm, row in figures.items():
            low, mean, high = row["gain"]
            gain = f"{mean:+.4f} ({low:+.4f} … {high:+.4f})"
            truths = f"{row['truths']:.1f}"
            cells = (f"{row['optimism'][1]:+.4f}", f"{row['verified'][1]:.4f}", gain, truths)
            table.add_row(name, arm, *cells)
        table.add_section()
    Console().print(table)
