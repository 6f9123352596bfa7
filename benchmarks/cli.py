"""The door of `benchmarks`: the main job, suites, and reports."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from agents.options import parse_limits, parse_options
from benchmarks.checkpoints.protocol import (
    FOLDER,
    Protocol,
    find_protocol,
    load_protocol,
    protocol_names,
)
from benchmarks.checkpoints.run import Wish, run_protocol
from benchmarks.checkpoints.summary import figures
from benchmarks.checkpoints.tables import show
from benchmarks.cli_measures import register
from benchmarks.lenna.cli import app as lenna
from benchmarks.replay.files import read_claims
from benchmarks.replay.validate import Demand, Verdict
from benchmarks.replay.validate import validate as validate_claims
from benchmarks.replay.world import Given
from benchmarks.report.folder import folder_markdown, report_folder
from benchmarks.report.suite.terminal import show_suite
from benchmarks.search import SearchOptions, headline, run_search
from benchmarks.setup import make_setup
from benchmarks.suites.execution import Execution, ProcessPool
from benchmarks.suites.run import Part, run_suite
from benchmarks.suites.suite import load_suite, suite_names
from emnas_gym.door import FAILED, print_json, run_door
from emnas_gym.errors import BackendMissing, EmNASError

app = typer.Typer(
    no_args_is_help=True,
    help="Search end to end, compare agents fairly, write reports. Everything resumes.",
)
console = Console(stderr=True)
TRAINED_EVALUATIONS = 30  # when every candidate is trained
DEFAULT_EVALUATIONS = 1000


def main() -> None:
    """Runs the command line."""
    run_door(app, "All that was measured is saved; the same command goes on from there.")


@app.command()
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


@app.command()
def run(
    suite: Annotated[str, typer.Argument(help="Name of a suite, or path of its TOML file.")],
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = Path("runs/bench"),
    workers: Annotated[int, typer.Option(help="Parallel processes; 0 is one a core.", min=0)] = 0,
    seeds: Annotated[int | None, typer.Option(help="Seeds, if not those of the file.")] = None,
    evaluations: Annotated[int | None, typer.Option(help="If not those of the file.")] = None,
    agents: Annotated[
        str, typer.Option(help="Only these now, e.g. random,evolution; the others stay missing.")
    ] = "",
    envs: Annotated[str, typer.Option(help="Only these environments now, by label.")] = "",
    ray: Annotated[
        str | None,
        typer.Option(help="Run on a Ray cluster: host:port, auto, or local (docs/distributed.md)."),
    ] = None,
    tensorboard: Annotated[
        bool,
        typer.Option(help="Let agents write TensorBoard logs: tensorboard --logdir OUT/SUITE."),
    ] = False,
    fresh: Annotated[
        bool, typer.Option(help="Of a protocol (nb201): compute what committed results have too.")
    ] = False,
    publish: Annotated[
        Path | None,
        typer.Option(help="Of a protocol: also write its page, picture and figures here."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Runs a suite: agents × environments × seeds, winners verified, tested against random search.

    A protocol such as nb201 makes hundreds of short runs of each agent on tables, and computes only
    what the committed results lack. Interrupt or kill either as you like: the same command goes on
    from what is stored.
    """
    command = shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]])
    if (file := find_protocol(suite)) is not None:
        if ray is not None or tensorboard or evaluations is not None:
            raise EmNASError(
                f"{suite} is a protocol of many short runs: --ray, --tensorboard and --evaluations "
                "are for suites; see `python -m benchmarks suites`"
            )
        wish = Wish(_labels(agents), _labels(envs), fresh, workers, publish)
        _run_protocol(load_protocol(file, seeds), out, wish, command, as_json)
        return
    if fresh or publish is not None:
        raise EmNASError(f"{suite} is a suite: --fresh and --publish are for protocols like nb201")
    part = Part(_labels(agents), _labels(envs))
    loaded = load_suite(suite, seeds, evaluations)
    with _execution(ray, workers) as execution:
        result = run_suite(loaded, out, workers, console, part, execution, command, tensorboard)
    if as_json:
        print_json(result)
        return
    show_suite(result, Console())
    console.print(f"report: {report_folder(out / loaded.name)}")


def _run_protocol(protocol: Protocol, out: Path, wish: Wish, command: str, as_json: bool) -> None:
    summary = run_protocol(protocol, out, wish, console, command)
    if as_json:
        print_json(figures(summary))
        return
    show(summary, Console())
    console.print(f"result: {out / protocol.name / 'result.json'}")


@contextmanager
def _execution(address: str | None, workers: int) -> Iterator[Execution]:
    """Processes of this machine, or a cluster that is left at the end."""
    if address is None:
        yield ProcessPool(workers)
        return
    try:
        from benchmarks.suites.ray_execution import RayExecution
    except ModuleNotFoundError as error:
        raise BackendMissing("--ray needs the package ray: pip install 'emnas-gym[ray]'") from error
    execution = RayExecution(address)
    try:
        yield execution
    finally:
        execution.close()


def _labels(text: str) -> tuple[str, ...]:
    return tuple(label.strip() for label in text.split(",") if label.strip())


@app.command()
def suites(
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """Lists the suites of the project: what each asks, and how many runs it takes."""
    known = [load_suite(name) for name in suite_names()]
    protocols = [load_protocol(FOLDER / f"{name}.toml") for name in protocol_names()]
    if as_json:
        print_json(
            {
                "suites": [suite.to_json() for suite in known],
                "protocols": [protocol.to_json() for protocol in protocols],
            }
        )
        return
    for suite in known:
        Console().print(
            f"[bold]{suite.name}[/bold]: {suite.title} ({len(list(suite.runs()))} runs)"
        )
    for protocol in protocols:
        Console().print(
            f"[bold]{protocol.name}[/bold]: {protocol.title} ({len(protocol.agents)} agents in "
            f"{len(protocol.worlds)} worlds, {protocol.least_runs} runs or more of each)"
        )


@app.command()
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


@app.command()
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


register(app)
app.add_typer(lenna, name="lenna")
