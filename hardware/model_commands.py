"""The commands on networks and model files: export, measure."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from emnas_gym import costs
from emnas_gym.architecture import Architecture
from emnas_gym.errors import EmNASError, InvalidArchitecture
from emnas_gym.space import load_space
from emnas_gym.tasks import Task, resolve_task
from hardware.application import Json, app, notes, show
from hardware.array_files import read_array, read_arrays
from hardware.companions import Companions, write_companions
from hardware.doctor import interpreter_version, package_version
from hardware.export import export_float, export_int8, write_export
from hardware.model_file import read_model_file
from hardware.npu_compiler import (
    compile_apart,
    compile_model,
    npu_config,
)
from hardware.random_weights import random_images, random_weights
from hardware.timing import Protocol, time_models

Tokens = Annotated[
    str, typer.Option(help="Token ids of one network, the end token included: 31,75,100,382.")
]
Space = Annotated[str, typer.Option(help="Search space: a name or a .toml file.")]
TaskName = Annotated[str, typer.Option(help="Task: input shape and number of classes.")]
Weights = Annotated[
    Path | None, typer.Option(help="Weights as .npz, named as the graph names them.")
]


@app.command("export")
def export_command(
    tokens: Tokens,
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("export"),
    name: Annotated[str, typer.Option(help="Stem of the files.")] = "model",
    space: Space = "emnas-382",
    task: TaskName = "digits",
    weights: Weights = None,
    images: Annotated[
        Path | None, typer.Option(help="Calibration images as .npy: (N, H, W, C), float.")
    ] = None,
    c_project: Annotated[
        bool, typer.Option("--c-project", help="Also a C project with our firmware's kernels.")
    ] = False,
    vela: Annotated[
        str, typer.Option(help="Also the file that Vela makes for this NPU: ethos-u55-128.")
    ] = "",
    io: Annotated[
        str, typer.Option(help="Also an int8 file with other inputs and outputs: uint8, float32.")
    ] = "int8",
    torch: Annotated[
        bool, typer.Option("--torch", help="Also the weights as a file that torch loads.")
    ] = False,
    kmodel: Annotated[
        bool, typer.Option("--kmodel", help="Also a K210's file; needs nncase's program ncc.")
    ] = False,
    ncc: Annotated[
        str | None, typer.Option(help="Path of ncc; else $EMNAS_NCC, else the one on the path.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Writes a network as int8 and float32 .tflite files and as a C header.

    Example: python -m hardware export --tokens 31,75,100,382 --weights best.npz --images some.npy

    The int8 file has int8 inputs and outputs and carries the plan of its arena, which TensorFlow
    Lite Micro follows; with --io there is another one for runtimes that want uint8 or float32 at
    the ends. Without --weights they are random, and without --images the ranges are
    those of noise: good for measuring, useless for classifying. `make run` in the folder of
    --c-project builds the network for this machine and runs it once.
    """
    architecture, the_task = _network(space, tokens), resolve_task(task)
    graph = architecture.graph(the_task)
    chosen = read_arrays(weights) if weights else random_weights(graph)
    calibration = read_array(images) if images else random_images(the_task.input_shape)
    wanted = Companions(io, vela, c_project, torch, kmodel or ncc is not None, ncc)
    wanted.check()
    paths = write_export(out, name, graph, chosen, calibration)
    paths |= write_companions(out, name, graph, chosen, calibration, wanted)
    if not (weights and images):
        notes.print("weights or calibration images are random: the files can only be measured")
    facts = {
        "architecture": architecture.to_json(),
        "task": the_task.name,
        "files": {kind: str(path) for kind, path in paths.items()},
        "file_bytes": {kind: path.stat().st_size for kind, path in paths.items()},
        "macs": costs.macs(graph),
        "flash_bytes": costs.flash_bytes(graph),
        "ram_bytes": costs.ram_bytes(graph),
        "arena_head_bytes": costs.arena_head_bytes(graph),
    }
    show(facts, as_json)


@app.command("measure")
def measure_command(
    on: Annotated[str, typer.Option(help="host, or an NPU such as ethos-u55-128.")] = "host",
    file: Annotated[Path | None, typer.Option(help="A .tflite file, instead of tokens.")] = None,
    tokens: Annotated[str, typer.Option(help="Token ids of one network, instead of a file.")] = "",
    space: Space = "emnas-382",
    task: TaskName = "digits",
    weights: Weights = None,
    rounds: Annotated[int, typer.Option(min=3, help="Blocks of runs.")] = Protocol.rounds,
    processes: Annotated[int, typer.Option(min=1, help="Repeats in fresh processes.")] = 1,
    float32: Annotated[bool, typer.Option("--float32", help="Float instead of int8.")] = False,
    as_json: Json = False,
) -> None:
    """Measures the latency of one network: timed on this machine, or estimated for an NPU.

    Example: python -m hardware measure --file export/model.tflite

    A file of unknown origin is opened in a process of its own first.
    """
    if (file is None) == (not tokens):
        raise typer.BadParameter("give either --file or --tokens")
    if on != "host":
        npu_config(on)
    if file is not None:
        content = read_model_file(file)
        facts: dict[str, Any] = {"file": str(file)}
    else:
        architecture = _network(space, tokens)
        content = _content(architecture, resolve_task(task), weights, float32 and on == "host")
        facts = {"architecture": architecture.to_json(), "task": task}
    with notes.status(f"measuring on {on}"):
        if on == "host":
            facts |= _on_host(content, Protocol(rounds=rounds, processes=processes))
        else:
            facts |= _on_npu(content, on, trusted=file is None)
    show(facts, as_json)


def _on_host(content: bytes, protocol: Protocol) -> dict[str, Any]:
    timing = time_models([content], protocol)[0]
    return {"on": interpreter_version(), "provenance": "host", **asdict(timing)}


def _on_npu(content: bytes, accelerator: str, trusted: bool) -> dict[str, Any]:
    if trusted:
        report = compile_model(content, npu_config(accelerator))
    else:
        report = compile_apart(content, accelerator)
    if report.cpu_operators:
        raise EmNASError(
            f"{report.cpu_operators} operators do not run on {accelerator}; "
            "it takes int8 models only"
        )
    vela = f"{accelerator}, ethos-u-vela {package_version('ethos-u-vela')}"
    return {
        "on": vela,
        "provenance": "analytic",
        "latency_ms": report.latency_ms,
        **asdict(report),
    }


def _network(space: str, tokens: str) -> Architecture:
    if not re.fullmatch(r"[\d\s,\[\]]+", tokens):
        raise InvalidArchitecture(f"tokens are whole numbers with commas between, not {tokens!r}")
    return load_space(space).architecture([int(t) for t in re.findall(r"\d+", tokens)])


def _content(architecture: Architecture, task: Task, weights: Path | None, as_float: bool) -> bytes:
    graph = architecture.graph(task)
    chosen = read_arrays(weights) if weights else random_weights(graph)
    if as_float:
        return export_float(graph, chosen)
    return export_int8(graph, chosen, random_images(task.input_shape))
