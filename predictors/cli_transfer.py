"""Commands around new devices: what each way of adapting is worth, and adapting to one."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable

from emnas_gym.devices import resolve_device
from emnas_gym.door import print_json
from emnas_gym.errors import DatasetError, UnknownName
from emnas_gym.space import load_space
from emnas_gym.surrogate_file import write_surrogate
from emnas_gym.tasks import DIGITS
from predictors.fitted import Figures
from predictors.metrics import rounded
from predictors.store import Tokens
from predictors.transfer.adapted import CHOSEN, METHODS
from predictors.transfer.comparison import FIGURES, compare
from predictors.transfer.measured import (
    DEVICES,
    PATH,
    SPACE,
    first_networks,
    measure,
    read_measured,
    write_measured,
)
from predictors.transfer.new_device import LEAST_SAMPLES, adapt_predictor
from predictors.transfer.report import TITLES, draw, markdown
from predictors.transfer.worlds import World, cells, original, ours
from predictors.unfinished import Unfinished
from predictors.user_table import read_user_table

WORLDS: dict[str, Callable[[], World]] = {
    "cells": cells,
    "our devices": ours,
    "our devices, by family": lambda: ours(by_family=True),
    "dataset_3": original,
}
COMMAND = "python -m predictors transfer-devices"
COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
console = Console(stderr=True)


def transfer(
    draws: Annotated[int, typer.Option(help="Draws of the samples.", min=2)] = 10,
    world: Annotated[
        list[str] | None, typer.Option(help="Which worlds; all if none. Can be repeated.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for transfer.json, transfer.md and the picture.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")] = False,
) -> None:
    """Compares ways to predict a new device's latency from a few measurements.

    The worlds `cells` and `dataset_3` rest on data of others, in the folder that the variable
    EMNAS_DATA names. With --out an interrupted run goes on with the worlds that are left.
    """
    names = world or list(WORLDS)
    for name in names:
        if name not in WORLDS:
            raise UnknownName("world", name, WORLDS)
    path = out / "transfer.part" if out is not None else None
    parts = Unfinished(path, {"draws": draws})
    with Progress(*COLUMNS, TimeRemainingColumn(), console=console) as progress:
        makers = {name: partial(_compare, name, draws, progress) for name in names}
        found = {name: parts.part(name, make) for name, make in makers.items()}
    if out is not None:
        _write(found, out)
    parts.finish()
    if as_json:
        print_json(found)
    else:
        _show(found)


def _compare(name: str, draws: int, progress: Progress) -> Figures:
    world = WORLDS[name]()
    bar = progress.add_task(name, total=len(world.targets))
    figures = rounded(compare(world, draws, advance=lambda: progress.advance(bar)), 4)
    assert isinstance(figures, dict)
    return figures


def _write(found: dict[str, Figures], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"worlds": found}, allow_nan=False)
    (out / "transfer.json").write_text(text + "\n", encoding="utf-8")
    (out / "transfer.md").write_text(markdown(found), encoding="utf-8")
    draw(found, out / "images" / "transfer.png")


def _show(found: dict[str, Figures]) -> None:
    table = RichTable("world", "way", *(TITLES[name] for name in FIGURES))
    for name, figures in found.items():
        for way, row in figures["selections"]["random"]["10"].items():
            table.add_row(name, way, *(f"{row[figure][1]:.3f}" for figure in FIGURES))
        table.add_section()
    Console().print(table)


def devices(
    store: Annotated[Path, typer.Option(help="File to write; it goes on from there.")] = PATH,
    anew: Annotated[bool, typer.Option("--anew", help="Measure everything again.")] = False,
) -> None:
    """Measures some hundred networks of the table on further devices, for `transfer`.

    Those are configurations of an Ethos-U, by Arm's compiler, and an emulated Cortex-M4. Each
    device that is done is saved.
    """
    networks = first_networks()
    known: dict[str, dict[Tokens, float]] = {}
    if store.is_file() and not anew:
        known = read_measured(store)
    with Progress(*COLUMNS, TimeRemainingColumn(), console=console) as progress:
        bars = {name: progress.add_task(name, total=len(networks)) for name in DEVICES}

        def save(device: str, rows: dict[Tokens, float]) -> None:
            known.setdefault(device, {}).update(rows)
            progress.update(bars[device], completed=len(known[device]))
            if len(known[device]) >= len(networks):
                write_measured(known, store, COMMAND)

        measure(networks, {name: dict(rows) for name, rows in known.items()}, save)


def adapt(
    csv: Annotated[
        Path, typer.Option(help="Columns tokens and latency_ms, latency_us or latency_s.")
    ],
    device: Annotated[str, typer.Option(help="Where it was measured: a name of a device.")],
    value: Annotated[str | None, typer.Option(help="Column of values, if there are two.")] = None,
    method: Annotated[
        str,
        typer.Option(
            help=f"One of {', '.join(METHODS)}, which docs/transfer.md compares; {CHOSEN}: by the "
            "samples, each left out in turn."
        ),
    ] = CHOSEN,
    out: Annotated[Path | None, typer.Option(help="A .json file.")] = None,
) -> None:
    """Fits the latency of a new device from about ten measurements, and from the known devices.

    Networks are of the space emnas-382 on digits, which the known devices measured; the CSV file
    is that of `fit --csv`. Every method's error is shown with each sample left out in turn.
    gym.make(..., evaluator=FILE) takes the file. With a hundred measurements use `fit --csv`.
    """
    space, board = load_space(SPACE), resolve_device(device)
    table = read_user_table(csv, space, DIGITS, value, LEAST_SAMPLES)
    if table.field != "latency_ms":
        raise DatasetError(f"{csv}: holds {table.field}, and what is adapted is a latency")
    with console.status("comparing with the known devices"):
        made = adapt_predictor(
            space, DIGITS, board.name, table.networks, table.values, method=method, source=csv.name
        )
    path = write_surrogate(made, out or Path("runs/predictors") / f"{made.name}.json")
    errors = RichTable("method", "mean relative error, each sample left out")
    for name, error in made.about["chosen_by_cross_validation"].items():
        kept = name == made.about["held_out"]["model"]
        errors.add_row(f"{name} (kept)" if kept else name, f"{error:.3f}")
    Console().print(errors)
    Console().print(
        f"gym.make('EmNAS-v0', device={device!r}, evaluator={str(path)!r})", soft_wrap=True
    )
