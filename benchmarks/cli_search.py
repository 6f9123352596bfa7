"""The main job as a command: search, verify, export, report."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from agents.options import parse_limits, parse_options
from benchmarks.search import SearchOptions, headline, run_search
from benchmarks.setup import make_setup
from emnas_gym.door import print_json

console = Console(stderr=True)
TRAINED_EVALUATIONS = 30  # when every candidate is trained
DEFAULT_EVALUATIONS = 1000


def search(
    env: Annotated[str, typer.Option(help="Registered environment to start from.")] = "EmNAS-v0",
    agent: Annotated[
        str | None, typer.Option(help="Who searches: see `python -m agents list`.")
    ] = None,
    evaluations: Annotated[
        int | None, typer.Option(help="Networks measured, repeats counted.", min=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="Decides everything.")] = 0,
    verify: Annotated[
        int, typer.Option(help="Winners that are really trained, with three seeds each.", min=0)
    ] = 5,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("runs/first"),
    task: Annotated[
        str | None,
        typer.Option(help="digits, a folder with one folder of pictures per class, or an .npz."),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Board: see `python -m hardware devices`.")
    ] = None,
    evaluator: Annotated[
        str | None, typer.Option(help="surrogate, trained, host, npu, emulated, or module:Class.")
    ] = None,
    reward: Annotated[
        str | None, typer.Option(help="weighted_product, linear, exponential, constrained.")
    ] = None,
    budget: Annotated[
        list[str] | None, typer.Option(help="Limit, e.g. ram_bytes=8192; can be repeated.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option(help="Hyperparameter of the agent, e.g. batch=32.")
    ] = None,
    image_size: Annotated[int, typer.Option(help="Side of pictures of a folder.", min=8)] = 32,
    tensorboard: Annotated[bool, typer.Option(help="Write a TensorBoard log.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Searches, really trains the winners, exports the best as int8 .tflite, writes report.html.

    Random search at as many evaluations runs beside it. With images of your own every candidate is
    trained (shortly), so that 30 evaluations are the default; on digits a surrogate makes it 1,000.
    """
    setup = make_setup(env, task, device, evaluator, reward, parse_limits(budget or []), image_size)
    for note in setup.data.notes if setup.data is not None else ():
        console.print(f"[dim]{note}[/dim]")
    options = SearchOptions(
        agent=agent or ("evolution" if setup.trains else "reinforce"),
        evaluations=evaluations or (TRAINED_EVALUATIONS if setup.trains else DEFAULT_EVALUATIONS),
        seed=seed,
        verify=verify,
        out=out,
        options=parse_options(option or []),
        command=shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        tensorboard=tensorboard,
    )
    summary = run_search(setup, options, console)
    if as_json:
        print_json(summary)
        return
    for line in headline(summary):
        console.print(line)
    console.print(f"report: {out / 'report.html'}")
