"""The command that compares all estimators of accuracy in one table and one picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable

from emnas_gym.door import print_json
from predictors.metrics import rounded
from predictors.proxies.curve_figures import curve_figures, elimination_figures
from predictors.proxies.page import markdown
from predictors.proxies.picture import draw
from predictors.proxies.table import measure, steps

NAME = "training_proxies"
console = Console(stderr=True)


def proxies(
    networks: Annotated[int, typer.Option(help="Held-out networks to compare on.", min=10)] = 60,
    out: Annotated[
        Path, typer.Option(help="Folder for training_proxies.md, .json, images/.")
    ] = Path("docs"),
    cache: Annotated[Path, typer.Option(help="What was measured; a run resumes from it.")] = Path(
        "runs/proxies/measured.jsonl"
    ),
    as_json: Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")] = False,
) -> None:
    """Compares training less, continued curves, zero-cost scores and the shipped surrogate.

    Each is held against full training of held-out networks: rank correlation, bias, seconds and
    full-training equivalents, with 95 % intervals. Interrupt it as you like: it goes on from the
    cache. Sixty networks take a quarter of an hour of one free core.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("measuring", total=steps(networks) + 2)
        figures = measure(networks, cache, lambda count: progress.advance(bar, count))
        figures["curves"] = curve_figures()
        progress.advance(bar)
        figures["elimination"] = elimination_figures()
        progress.advance(bar)
    figures["command"] = f"python -m predictors proxies --networks {networks}"
    plain = rounded(figures, 4)
    assert isinstance(plain, dict)
    draw(plain, out / "images" / f"{NAME}.png")
    (out / f"{NAME}.json").write_text(
        json.dumps(plain, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    (out / f"{NAME}.md").write_text(markdown(plain), encoding="utf-8")
    if as_json:
        print_json(plain)
    else:
        _show(plain)


def _show(figures: dict[str, Any]) -> None:
    table = RichTable("estimator", "τ", "bias", "seconds", "equivalents", "speed-up", "n")
    for row in figures["rows"]:
        bias = row["bias"]
        table.add_row(
            row["name"],
            _range(row["tau"]),
            "–" if bias is None else _range(bias),
            f"{row['seconds']:.3g}",
            f"{row['equivalents']:.2f}",
            f"{row['speed_up']:.3g}",
            str(row["n"]),
        )
    Console().print(table)
    for name in ("curves", "elimination"):
        Console().print(name, figures[name])


def _range(three: list[float]) -> str:
    low, value, high = three
    return f"{value:.2f} ({low:.2f} … {high:.2f})"
