"""The commands on what our kernels execute: split, kernels, proxy."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from emnas_gym.devices import resolve_device
from emnas_gym.door import print_json
from emnas_gym.tasks import resolve_task
from hardware.application import Json, app, console, notes, table_of
from hardware.array_files import read_arrays
from hardware.emulator import BOARDS
from hardware.kernel_costs import KernelCost, kernel_costs
from hardware.model_commands import Space, TaskName, Tokens, Weights, network_of
from hardware.operation_proxy import Line, measure_proxy
from hardware.operator_counts import RUNS
from hardware.operator_split import OperatorSplit, split_network

Runs = Annotated[int, typer.Option(min=1, help="Runs over which instructions are averaged.")]


@app.command("split")
def split_command(
    tokens: Tokens,
    device: Annotated[str, typer.Option(help="The board whose latency is split.")] = "stm32f446re",
    core: Annotated[
        str, typer.Option(help="Count on this emulated core: cortex-m3, cortex-m4, cortex-m7.")
    ] = "",
    latency_ms: Annotated[
        float | None, typer.Option(min=0.0, help="A measured latency; else the board's line.")
    ] = None,
    space: Space = "emnas-382",
    task: TaskName = "digits",
    weights: Weights = None,
    runs: Runs = RUNS,
    as_json: Json = False,
) -> None:
    """Splits a network's latency on a board by operation, as instructions of our kernels.

    Example: python -m hardware split --tokens 31,75,100,382 --device stm32f746zg
    """
    graph = network_of(space, tokens).graph(resolve_task(task))
    with notes.status("counting on an emulated core"):
        found = split_network(
            graph,
            resolve_device(device),
            core=core,
            reading_ms=latency_ms,
            weights=read_arrays(weights) if weights else None,
            runs=runs,
        )
    if as_json:
        print_json(found.to_json())
    else:
        _show_split(found)


def _show_split(found: OperatorSplit) -> None:
    table = table_of("operation", "kind", "MACs", "instructions", "share", "≈ ms")
    for row in found.rows:
        ms = "" if row.latency_ms is None else f"{row.latency_ms:.4g}"
        counted = f"{row.instructions:,.0f}"
        table.add_row(row.name, row.op, f"{row.macs:,}", counted, f"{row.share:.1%}", ms)
    console.print(table)
    latency = "" if found.latency_ms is None else f"{found.latency_ms:.4g} ms "
    console.print(escape(f"latency {latency}({found.latency_source}); core {found.core}"))
    console.print(escape(f"shares: {found.provenance}"))


@app.command("kernels")
def kernels_command(runs: Runs = RUNS, as_json: Json = False) -> None:
    """Measures instructions a multiply-accumulate by kind of operation, on every emulated core.

    Each is a network of one operation on a map of 6×6×8 and on one of 12×12×32.
    """
    with notes.status("counting on emulated cores"):
        found = kernel_costs(runs=runs)
    if as_json:
        print_json({"kernels": [vars(cost) for cost in found]})
        return
    table = table_of("operation", "a", *BOARDS)
    for row in kernel_rows(found):
        table.add_row(*row)
    console.print(table)


def kernel_rows(found: list[KernelCost]) -> list[list[str]]:
    """One row a kind: small and large map for each core."""
    rows: dict[str, list[str]] = {}
    for cost in found:
        row = rows.setdefault(cost.kind, [cost.kind, cost.unit])
        row.append(f"{cost.small:.3g} / {cost.large:.3g}")
    return list(rows.values())


@app.command("proxy")
def proxy_command(
    networks: Annotated[int, typer.Option(min=3, help="Random networks.")] = 30,
    seed: Annotated[int, typer.Option(help="Decides their widths.")] = 0,
    core: Annotated[str, typer.Option(help="Emulated core.")] = "cortex-m4",
    as_json: Json = False,
) -> None:
    """Says how well MACs tell instructions and time, over random networks of one backbone."""
    with notes.status("counting, then timing on this machine"):
        found = measure_proxy(networks, seed, core)
    if as_json:
        print_json(found.to_json())
        return
    table = table_of("cost", "a", "b, each MAC", "r²")
    lines: list[tuple[str, Line | None]] = [
        (f"instructions, {found.core}", found.emulated),
        ("ms on this machine", found.host),
    ]
    for name, line in lines:
        if line is not None:
            values = (line.constant, line.slope, line.r_squared)
            table.add_row(name, *(f"{value:.4g}" for value in values))
    console.print(table)
