"""Commands that measure this machine, the default reward, agents, and what stands for latency."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from benchmarks.studies.agreement import PROXIES, agreement
from benchmarks.studies.headroom import headroom
from benchmarks.throughput.cost import chosen_agents, cost, runs_of
from benchmarks.throughput.cost_page import publish
from benchmarks.throughput.parts import PARTS, measure, rounds_of
from emnas_gym.door import print_json

console = Console(stderr=True)


def throughput(
    only: Annotated[str | None, typer.Option(help=f"One part: {', '.join(PARTS)}.")] = None,
    networks: Annotated[int, typer.Option(help="Random networks of export.", min=1)] = 100,
    rounds: Annotated[int, typer.Option(help="Rounds in which all others take turns.", min=1)] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Measures how fast the parts are on this machine, beside what others take in the same run."""
    total = rounds_of(only, networks, rounds)
    with Progress(TextColumn("{task.description}"), BarColumn(), console=console) as bar:
        task = bar.add_task("measuring", total=total)

        def advance(part: str) -> None:
            bar.update(task, advance=1, description=part)

        result = measure(only, networks, advance, rounds)
    if as_json:
        print_json(result)
        return
    table = Table("figure", "value")
    for name, value in _flat(result):
        table.add_row(name, "–" if value is None else f"{value:.4g}")
    Console().print(table)


def headroom_command(
    seeds: Annotated[int, typer.Option(help="Runs of random search.", min=2)] = 100,
    evaluations: Annotated[int, typer.Option(help="Of each of them.", min=1)] = 1000,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Says how much the default reward leaves to be won, in deviations of one training's noise."""
    with Progress(TextColumn("searching"), BarColumn(), console=console) as bar:
        task = bar.add_task("searching", total=seeds + 1)
        result = headroom(seeds, evaluations, lambda: bar.advance(task))
    if as_json:
        print_json(result)
        return
    table = Table("figure", "value")
    for name, value in result.items():
        table.add_row(name, f"{value:.6g}")
    Console().print(table)


def agreement_command(
    networks: Annotated[int, typer.Option(help="Random networks.", min=2)] = 60,
    seed: Annotated[int, typer.Option(help="Decides which.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Compares what stands for latency: MACs, emulated instructions, NPU cycles, time here."""
    with Progress(TextColumn("{task.description}"), BarColumn(), console=console) as bar:
        task = bar.add_task("measuring", total=len(PROXIES))
        result = agreement(networks, seed, lambda name: bar.update(task, advance=1))
    if as_json:
        print_json(result)
        return
    table = Table("proxies", "Kendall's τ", title=f"{result['networks']} networks")
    for pair, tau in result["tau"].items():
        table.add_row(pair, f"{tau:.3f}")
    Console().print(table)
    repeat = result["host_repeat"]
    Console().print(
        f"two measurements on this machine differ by {repeat['median']:.1%} (median) and "
        f"{repeat['p90']:.1%} (nine in ten)"
    )


def cost_command(
    agents: Annotated[
        str, typer.Option(help="Only these, e.g. random,evolution; all if not given.")
    ] = "",
    evaluations: Annotated[int, typer.Option(help="Of one run.", min=1)] = 1000,
    runs: Annotated[int, typer.Option(help="Of each agent that count.", min=1)] = 3,
    seconds: Annotated[
        float, typer.Option(help="Of a first run; slow agents get fewer evaluations.", min=0)
    ] = 5.0,
    publish_to: Annotated[
        Path | None,
        typer.Option("--publish", help="Also write a page, its picture and its figures here."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Measures what agents themselves take: time of 1,000 evaluations that cost next to nothing.

    On the enumerated table, and on the chains of the default space scored by a formula. The line of
    random search is what ledger and world take.
    """
    chosen = chosen_agents([name.strip() for name in agents.split(",") if name.strip()])
    with Progress(TextColumn("{task.description}"), BarColumn(), console=console) as bar:
        task = bar.add_task("measuring", total=runs_of(chosen, runs))

        def advance(agent: str) -> None:
            bar.update(task, advance=1, description=agent)

        result = cost(chosen, evaluations, runs, seconds, advance)
    if publish_to is not None:
        for path in publish(result, publish_to):
            console.print(f"wrote {path}")
    if as_json:
        print_json(result)
        return
    table = Table("agent", "world", "wall s", "cpu s", "evaluations", "runs")
    for agent, found in result["agents"].items():
        for world, took in found.items():
            times = [f"{took[clock]:.3f}" for clock in ("wall_s", "cpu_s")]
            table.add_row(agent, world, *times, str(took["evaluations"]), str(took["runs"]))
    Console().print(table)


def _flat(figures: dict[str, Any]) -> Iterator[tuple[str, float | None]]:
    """Names and numbers of nested figures."""
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{inner}", number) for inner, number in _flat(value))
        else:
            yield name, value
