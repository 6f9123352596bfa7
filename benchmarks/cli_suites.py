"""Commands that run suites and protocols, and list them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

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
from benchmarks.report.folder import report_folder
from benchmarks.report.suite.terminal import show_suite
from benchmarks.suites.execution import Execution, ProcessPool
from benchmarks.suites.run import Part, run_suite
from benchmarks.suites.suite import load_suite, suite_names
from emnas_gym.door import print_json
from emnas_gym.errors import BackendMissing, EmNASError

console = Console(stderr=True)


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
