"""The command that holds shared weights against training every network alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as RichTable

from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.door import print_json
from emnas_gym.errors import DomainError
from emnas_gym.space import load_space
from predictors.datasets import load
from predictors.metrics import rounded
from predictors.supernet.shared_evaluator import SharedEvaluator
from predictors.supernet.shared_study import Study, study
from predictors.supernet.shared_training import SharedRecipe
from predictors.training import Recipe

COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
console = Console(stderr=True)


def shared(
    networks: Annotated[int, typer.Option(help="Networks to compare on.", min=2)] = 200,
    space: Annotated[str, typer.Option(help="Space of cells: a name or .toml.")] = "nb201-cell",
    task: Annotated[str, typer.Option(help="digits, a folder of images, or an .npz.")] = "digits",
    seeds: Annotated[int, typer.Option(help="Stand-alone trainings of each.", min=1)] = 1,
    warm: Annotated[
        int, typer.Option(help="Epochs of trainings from shared weights; 0 for none.", min=0)
    ] = 0,
    epochs: Annotated[
        int, typer.Option(help="Epochs of the supernet.", min=1)
    ] = SharedRecipe.epochs,
    sampling: Annotated[
        str, typer.Option(help="Networks of a step: uniform or fair.")
    ] = SharedRecipe.sampling,
    alone: Annotated[
        int, typer.Option(help="Epochs of a stand-alone training.", min=1)
    ] = Recipe.epochs,
    seed: Annotated[int, typer.Option(help="Of the supernet.")] = 0,
    cache: Annotated[
        Path, typer.Option(help="Folder of what was measured; a run resumes from it.")
    ] = Path("runs/shared"),
    out: Annotated[Path | None, typer.Option(help="Write the figures to this .json file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print exactly one JSON object.")] = False,
) -> None:
    """Ranks networks by shared weights, and by training each of them alone.

    Shows Kendall's τ with a 95 % interval over networks and processor seconds of both. Interrupt
    it as you like: trainings are kept as they finish.
    """
    chosen = load_space(space)
    if not isinstance(chosen, CellSpace):
        raise DomainError(f"weights are shared by networks of cells, which {chosen.name} has not")
    data = load(task)
    recipe = SharedRecipe(epochs=epochs, sampling=sampling)
    evaluator = SharedEvaluator(chosen, data, recipe, seed, cache=cache)
    plan = Study(networks, seeds, warm, Recipe(epochs=alone))
    with Progress(*COLUMNS, TimeRemainingColumn(), console=console) as progress:
        bars: dict[str, Any] = {}

        def tell(what: str, done: int, total: int) -> None:
            if what not in bars:
                bars[what] = progress.add_task(what, total=total)
            progress.update(bars[what], completed=done)

        figures = study(plan, evaluator, cache, tell)
    figures["command"] = (
        f"python -m predictors shared --networks {networks} --space {space} --task {task}"
        f" --seeds {seeds} --warm {warm} --epochs {epochs} --sampling {sampling}"
        f" --alone {alone} --seed {seed}"
    )
    plain = rounded(figures, 4)
    assert isinstance(plain, dict)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(plain, indent=1, ensure_ascii=False) + "\n"
        out.write_text(text, encoding="utf-8")
    if as_json:
        print_json(plain)
    else:
        _show(plain)


def _show(figures: dict[str, Any]) -> None:
    table = RichTable(
        "estimate", "τ", "τ, validation", "τ, test", "seconds", "× cheaper", "with supernet"
    )
    for row in figures["rows"]:
        table.add_row(
            row["name"],
            _range(row["tau"]),
            _range(row["tau_valid"]),
            _range(row["tau_test"]),
            f"{row['seconds']:.3g}",
            f"{row['ratio']:.3g}",
            f"{row['ratio_with_supernet']:.3g}",
        )
    Console().print(table)
    Console().print("alone", figures["stand_alone"], "supernet", figures["supernet"])


def _range(three: list[float | None]) -> str:
    low, value, high = three
    return "–" if value is None else f"{value:.2f} ({low:.2f} … {high:.2f})"
