"""The command that turns a network into files: export."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from emnas_gym import costs
from emnas_gym.architecture import Architecture
from emnas_gym.errors import InvalidArchitecture
from emnas_gym.space import load_space
from emnas_gym.tasks import resolve_task
from hardware.application import Json, app, notes, show
from hardware.array_files import read_array, read_arrays
from hardware.companions import Companions, write_companions
from hardware.export import write_export
from hardware.random_weights import random_images, random_weights

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
    small: Annotated[
        bool,
        typer.Option(
            "--small", help="The C project works in place: less memory, more instructions."
        ),
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
    architecture, the_task = network_of(space, tokens), resolve_task(task)
    graph = architecture.graph(the_task)
    chosen = read_arrays(weights) if weights else random_weights(graph)
    calibration = read_array(images) if images else random_images(the_task.input_shape)
    wanted = Companions(io, vela, c_project, small, torch, kmodel or ncc is not None, ncc)
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


def network_of(space: str, tokens: str) -> Architecture:
    """The network that a user typed.

    Raises:
        InvalidArchitecture: If these are no tokens, or none of the space's.
    """
    if not re.fullmatch(r"[\d\s,\[\]]+", tokens):
        raise InvalidArchitecture(f"tokens are whole numbers with commas between, not {tokens!r}")
    return load_space(space).architecture([int(t) for t in re.findall(r"\d+", tokens)])
