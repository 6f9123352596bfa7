"""The command that makes tables: draws networks, trains them, measures their costs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from emnas_gym.errors import EvaluationError
from emnas_gym.space import load_space
from predictors.collect import collect, draw, enumerated, jobs, left_of
from predictors.collect_costs import collect_costs
from predictors.datasets import load
from predictors.drawn_limit import note_limit
from predictors.store import TableStore, Training
from predictors.tables import packed_path, read_header, restore
from predictors.training import Recipe

console = Console(stderr=True)


def collect_command(
    space: Annotated[str, typer.Option(help="Search space: a name or a .toml file.")] = "emnas-382",
    task: Annotated[str, typer.Option(help="digits, a folder of images, or an .npz.")] = "digits",
    limit: Annotated[int, typer.Option(help="Number of distinct networks.", min=1)] = 4000,
    out: Annotated[Path, typer.Option(help="SQLite file; a run resumes from it.")] = Path(
        "runs/table/emnas-382_digits.sqlite"
    ),
    workers: Annotated[
        int, typer.Option(help="Parallel processes, one thread each; 0 is one a core.", min=0)
    ] = 0,
    epochs: Annotated[int, typer.Option(help="Epochs of each training.", min=1)] = Recipe.epochs,
    patience: Annotated[
        int,
        typer.Option(
            help="Epochs after which an attempt that learned nothing ends; 0: none.", min=0
        ),
    ] = Recipe.patience,
    seed: Annotated[int, typer.Option(help="Decides which networks are drawn.")] = 0,
    costs: Annotated[
        list[str] | None,
        typer.Option(help="Measure costs too: host, ethos-u55-128, cortex-m4…; can be repeated."),
    ] = None,
    whole: Annotated[
        bool, typer.Option("--whole", help="Train every network of a small space, not a sample.")
    ] = False,
    seeds: Annotated[
        int | None, typer.Option(help="Trainings of every network; five of some if none.", min=1)
    ] = None,
    max_macs: Annotated[
        int | None, typer.Option(help="Draw only networks of at most so many MACs.", min=1)
    ] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Do not begin from the committed table.")
    ] = False,
) -> None:
    """Draws networks, really trains them, and stores one row a training.

    Interrupt it as you like, even with kill -9: the same command goes on. One network in ten is
    trained with five seeds, so that the noise is known, unless --seeds says how many. Latency on
    this machine wants the machine for itself: measure it last, with nothing else running.
    """
    chosen, data = load_space(space), load(task)
    recipe = Recipe(epochs=epochs, patience=patience)
    about = {
        "space": chosen.fingerprint,
        "task": data.task.name,
        "recipe": json.dumps(recipe.to_json()),
    }
    networks = (
        enumerated(chosen, data.task) if whole else draw(chosen, data.task, limit, seed, max_macs)
    )
    todo = list(jobs(networks, seeds))
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with TableStore(out, about) as store, Progress(*columns, console=console) as progress:
        if not anew:
            _begin_from_committed(store, chosen.name, data.task.name, about)
        note_limit(store, None if whole else max_macs)  # of what is there as well
        left = len(left_of(todo, store))
        bar = progress.add_task("training", total=len(todo), completed=len(todo) - left)

        def advance(_: Training | EvaluationError) -> None:
            progress.advance(bar)

        collect(chosen, data, task, recipe, todo, store, workers or os.cpu_count() or 1, advance)
        trained = list(dict.fromkeys(row.tokens for row in store.trainings()))
        for device in costs or []:
            cost_bar = progress.add_task(f"costs on {device}", total=len(trained))
            collect_costs(
                chosen,
                data.task,
                device,
                trained,
                store,
                lambda count, bar=cost_bar: progress.advance(bar, count),  # type: ignore[misc]
            )


def _begin_from_committed(store: TableStore, space: str, task: str, about: dict[str, str]) -> None:
    """Fills an empty store from the committed table, if that was made in the same way."""
    path = packed_path(space, task)
    if store.done() or not path.is_file():
        return
    made = read_header(path)["about"]
    if all(made.get(key) == value for key, value in about.items()):
        console.print(f"begins from {restore(path, store)} trainings of {path.name}")
