"""``python -m benchmarks sweep``: latency weighed more and more in the loss of a search."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from agents.options import parse_options
from benchmarks.gradient.sweep import Sweep, run_sweep
from benchmarks.gradient.sweep_page import write_sweep
from benchmarks.gradient.sweep_statistics import sweep_findings
from emnas_gym.door import print_json

console = Console(stderr=True)


def sweep_command(
    agent: Annotated[str, typer.Option(help="darts, gdas, pc-darts or proxyless.")] = "gdas",
    target: Annotated[
        str, typer.Option(help="What latency is measured on: an NPU, an emulated core, host, macs.")
    ] = "ethos-u55-128",
    space: Annotated[str, typer.Option(help="A space of cells, or its file.")] = "nb201-cell",
    task: Annotated[str, typer.Option(help="digits, or the path of your own images.")] = "digits",
    weights: Annotated[
        str, typer.Option(help="λ, ascending from 0, with commas between.")
    ] = "0,0.1,0.3,1,3",
    seeds: Annotated[int, typer.Option(help="Searches of each λ.", min=2)] = 5,
    trainings: Annotated[int, typer.Option(help="Trainings of each genotype.", min=1)] = 3,
    option: Annotated[
        list[str] | None, typer.Option(help="Hyperparameter of the agent, e.g. epochs=20.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Parallel searches; 0 is one a core.", min=0)] = 0,
    out: Annotated[Path, typer.Option(help="Folder of what was measured.")] = Path("runs/sweep"),
    publish: Annotated[
        Path | None, typer.Option(help="Write page, picture and figures here, e.g. docs.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the findings as JSON.")] = False,
) -> None:
    """Searches by gradient with latency in the loss, for several λ; trains, exports, measures.

    Interrupt it as you like: the same command goes on, and more seeds or λ are added to what is
    there. Example: python -m benchmarks sweep --target cortex-m4 --seeds 2 --weights 0,1
    """
    wanted = Sweep(
        agent=agent,
        options=parse_options(option or []),
        space=space,
        task=task,
        target=target,
        weights=_numbers(weights),
        seeds=seeds,
        trainings=trainings,
    )
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=console) as bar:
        running = bar.add_task("searching", total=len(wanted.weights) * seeds)
        folder = out / f"{agent}_{space}_{task}_{target}".replace("/", "-")
        result = run_sweep(
            wanted, folder, workers or os.cpu_count() or 1, lambda: bar.advance(running)
        )
    if publish is not None:
        command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
        console.print(f"page: {write_sweep(result, publish, command)}")
    found = sweep_findings(result)
    if as_json:
        print_json(found)
        return
    for row in found["rows"]:
        console.print(
            f"λ {row['weight']:g}: {row['latency']:,.1f} ± {row['latency_error']:,.1f} µs, "
            f"{100 * row['test']:.2f} ± {100 * row['test_error']:.2f} %"
        )


def _numbers(text: str) -> tuple[float, ...]:
    """Numbers with commas between.

    Raises:
        BadParameter: If one is none.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise typer.BadParameter(f"numbers with commas between, not {text!r}") from error
