"""The command that measures networks on devices: one network, or a table of many."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from emnas_gym.space import load_space
from emnas_gym.tasks import Task, resolve_task
from hardware.application import Json, app, notes, show
from hardware.array_files import read_arrays
from hardware.collect import collect_table
from hardware.deployment import Deployment, deploy, deploy_file
from hardware.drivers.spec import DeviceSpec, parse_options, read_farm
from hardware.errors import DeviceError
from hardware.farm import Farm, Patience
from hardware.model_commands import Space, TaskName, Tokens, Weights, network_of
from hardware.npu_configs import CONFIGS
from hardware.random_weights import random_images, random_weights
from hardware.reading import Repeats
from hardware.timing import Protocol

NPU_PREFIX = "ethos-"

On = Annotated[
    list[str] | None,
    typer.Option(
        help="Device: host, ethos-u55-128, emulated:cortex-m4, framed:/dev/ttyUSB0, "
        "maixpy:/dev/ttyUSB0, manual:table.csv, ... Can be repeated: several share the work."
    ),
]


@app.command("measure")
def measure_command(
    on: On = None,
    farm: Annotated[
        Path | None, typer.Option(help="A TOML file of several devices: see docs/devices.md.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--set", help="Option of the driver: baud=921600.")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="A .tflite file, instead of tokens.")] = None,
    tokens: Tokens = "",
    samples: Annotated[int, typer.Option(help="So many random networks, into --out.", min=0)] = 0,
    out: Annotated[
        Path, typer.Option(help="Table of --samples; one that is there is completed.")
    ] = Path("latencies.csv"),
    seed: Annotated[int, typer.Option(help="Decides which networks --samples draws.")] = 0,
    space: Space = "emnas-382",
    task: TaskName = "digits",
    weights: Weights = None,
    repeats: Annotated[int, typer.Option(min=1, help="Timed runs.")] = Repeats.timed,
    warm_up: Annotated[int, typer.Option(min=0, help="Runs before them.")] = Repeats.warm_up,
    seconds: Annotated[float, typer.Option(help="Deadline of a network.")] = Repeats.seconds,
    rounds: Annotated[int, typer.Option(min=3, help="Blocks of runs, on host.")] = Protocol.rounds,
    processes: Annotated[int, typer.Option(min=1, help="Fresh processes, on host.")] = 1,
    float32: Annotated[bool, typer.Option("--float32", help="Float, on host.")] = False,
    as_json: Json = False,
) -> None:
    """Measures networks on devices: this machine, boards, emulated boards, an NPU's compiler.

    One network, with every run:
    python -m hardware measure --on emulated:cortex-m4 --tokens 31,75,100,382

    A table of random networks, unattended; begun again, it goes on where it was:
    python -m hardware measure --on framed:/dev/ttyUSB0 --samples 500 --out board.csv

    A file of unknown origin is opened in a process of its own first.
    """
    if sum((file is not None, bool(tokens), samples > 0)) != 1:
        raise typer.BadParameter("give either --file or --tokens, or --samples")
    host = {"rounds": rounds, "processes": processes} | ({"float32": True} if float32 else {})
    specs = read_farm(farm) if farm else _specs(on or ["host"], parse_options(option or []), host)
    patience = Patience() if samples else Patience(rests=0)  # somebody waits for one network
    measured_on = Farm(specs, Repeats(repeats, warm_up, seconds), patience)
    try:
        if samples:
            the_space = load_space(space)
            facts = collect_table(
                measured_on, the_space, resolve_task(task), samples, seed, out, notes
            )
        else:
            deployment, facts = _one(file, tokens, space, resolve_task(task), weights, measured_on)
            asks = any(spec.driver == "manual" for spec in specs)  # a spinner would be in the way
            with nullcontext() if asks else notes.status(f"measuring on {_names(specs)}"):
                (answer,) = measured_on.measure([deployment])
            if isinstance(answer, DeviceError):
                raise answer
            facts |= answer.to_json()
    finally:
        measured_on.close()
    show(facts, as_json)


def _names(specs: Sequence[DeviceSpec]) -> str:
    return ", ".join(spec.name for spec in specs)


def _specs(
    names: Sequence[str], options: dict[str, Any], of_host: dict[str, Any]
) -> list[DeviceSpec]:
    """The devices that were typed; an NPU goes by its own name, as in ``devices``."""
    specs = []
    for name in names:
        if name in CONFIGS or name.startswith(NPU_PREFIX):
            specs.append(DeviceSpec("npu", name, options))
            continue
        spec = DeviceSpec.parse(name, options)
        if spec.driver == "host":
            spec = DeviceSpec("host", spec.address, of_host | options)
        specs.append(spec)
    return specs


def _one(
    file: Path | None, tokens: str, space: str, task: Task, weights: Path | None, farm: Farm
) -> tuple[Deployment, dict[str, Any]]:
    if file is not None:
        return deploy_file(file), {"file": str(file)}
    architecture = network_of(space, tokens)
    graph = architecture.graph(task)
    chosen = read_arrays(weights) if weights else random_weights(graph)
    facts = {"architecture": architecture.to_json(), "task": task.name}
    return deploy(graph, chosen, random_images(task.input_shape), farm.formats), facts
