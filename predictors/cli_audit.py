"""Command around audits: what doubting and verifying a predictor is worth to a search."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable

from emnas_gym.door import print_json
from emnas_gym.errors import UnknownName
from predictors.audit_effect import REAL_ARMS, WORLDS, effect, trained
from predictors.audit_report import draw, markdown
from predictors.fitted import Figures
from predictors.metrics import rounded
from predictors.unfinished import Unfinished

COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
console = Console(stderr=True)


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
    """Shows what a search makes of a weak predictor, and what doubt and verification change.

    With --out an interrupted run goes on with the worlds that are left.
    """
    names = world or list(WORLDS)
    for name in names:
        if name not in WORLDS:
            raise UnknownName("world", name, WORLDS)
    parts = Unfinished(out / "audit.part" if out is not None else None, {"seeds": seeds})
    with Progress(*COLUMNS, TimeRemainingColumn(), console=console) as progress:
        makers = {name: partial(_effect, name, seeds, progress) for name in names}
        found = {name: parts.part(name, make) for name, make in makers.items()}
        real = None
        if train:
            real = parts.part(f"trained {train}", partial(_trained, train, progress))
    everything: dict[str, Any] = {"seeds": seeds, "worlds": found, "trained": real}
    if out is not None:
        _write(everything, out)
    parts.finish()
    if as_json:
        print_json(everything)
    else:
        _show(found)


def _effect(name: str, seeds: int, progress: Progress) -> Figures:
    bar = progress.add_task(name, total=seeds)
    return _rounded(effect(name, seeds, lambda: progress.advance(bar)))


def _trained(seeds: int, progress: Progress) -> Figures:
    bar = progress.add_task("trained", total=seeds * len(REAL_ARMS))
    return _rounded(trained(seeds, advance=lambda: progress.advance(bar)))


def _rounded(figures: Figures) -> Figures:
    kept = rounded(figures, 5)
    assert isinstance(kept, dict)
    return kept


def _write(everything: dict[str, Any], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(everything, allow_nan=False)
    (out / "audit.json").write_text(text + "\n", encoding="utf-8")
    page = markdown(everything["worlds"], everything["trained"])
    (out / "audit.md").write_text(page, encoding="utf-8")
    draw(everything["worlds"], out / "images" / "audit.png")


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
