"""What an export brings on request: other ends, an NPU's file, a K210's, torch's, C sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from emnas_gym.errors import EmNASError, UnknownName
from emnas_gym.graph import LayerGraph
from hardware.c_project import write_c_project
from hardware.deployment import deploy
from hardware.export import export_float, int8_program, write_whole
from hardware.kmodel import find_compiler, make_kmodel
from hardware.model_ends import IO_TYPES, with_io
from hardware.npu_compiler import optimised_model
from hardware.npu_configs import npu_config
from hardware.program import Array
from hardware.tflite_writer import write_tflite
from hardware.torch_file import torch_state


@dataclass(frozen=True)
class Companions:
    """Which files are wanted beside the int8 and float32 ones.

    Attributes:
        io: Type of the inputs and outputs of a further int8 file; ``"int8"`` for none.
        vela: NPU for which Vela makes a file; empty for none.
        c_project: A folder with C sources.
        small: Its network works in place, in less memory and with more instructions.
        torch: A file of torch with the weights as they were trained.
        kmodel: A K210's file.
        ncc: The program that makes it; None to look for it.
    """

    io: str = "int8"
    vela: str = ""
    c_project: bool = False
    small: bool = False
    torch: bool = False
    kmodel: bool = False
    ncc: str | None = None

    def check(self) -> None:
        """Finds what cannot be made before anything is written.

        Raises:
            UnknownName: If there is no such type or NPU.
            BackendMissing: If the K210's compiler is not there.
        """
        if self.io not in IO_TYPES:
            raise UnknownName("type of inputs and outputs", self.io, IO_TYPES)
        if self.vela:
            npu_config(self.vela)
        if self.kmodel:
            find_compiler(self.ncc)


def write_companions(
    folder: Path,
    name: str,
    graph: LayerGraph,
    weights: Mapping[str, Array],
    images: Array,
    wanted: Companions,
) -> dict[str, Path]:
    """Writes what is wanted into the folder of an export.

    Args:
        folder: Where `hardware.export.write_export` has written.
        name: Stem of the files.
        graph: Any graph.
        weights: Arrays with the names and shapes of `LayerGraph.weight_shapes`.
        images: (N, *input shape) float32, for calibration.
        wanted: Which files.

    Returns:
        The paths: ``io``, ``vela``, ``torch``, ``kmodel``, ``c_network`` (a header of the project).

    Raises:
        EmNASError: If a file cannot be made or written; see the makers of each.
    """
    wanted.check()
    files = _files(name, graph, weights, images, wanted)
    try:
        paths = {kind: write_whole(folder / file, made) for kind, (file, made) in files.items()}
    except OSError as error:
        raise EmNASError(f"{folder} cannot be written: {error.strerror or error}") from error
    if wanted.c_project:
        formats = ("flat-small",) if wanted.small else ("flat",)
        deployment = deploy(graph, weights, images, formats)
        paths["c_network"] = write_c_project(folder / f"{name}_c", deployment)
    return paths


def _files(
    name: str,
    graph: LayerGraph,
    weights: Mapping[str, Array],
    images: Array,
    wanted: Companions,
) -> dict[str, tuple[str, bytes]]:
    """Names and contents."""
    files: dict[str, tuple[str, bytes]] = {}
    if wanted.io != "int8":
        program = with_io(int8_program(graph, weights, images), wanted.io)
        files["io"] = f"{name}_io_{wanted.io}.tflite", write_tflite(program)
    if wanted.vela:
        int8 = write_tflite(int8_program(graph, weights, images))
        npu = optimised_model(int8, npu_config(wanted.vela))
        files["vela"] = f"{name}_{wanted.vela.replace('/', '_')}.tflite", npu
    if wanted.torch:
        files["torch"] = f"{name}.pt", torch_state(graph, weights)
    if wanted.kmodel:
        made = make_kmodel(export_float(graph, weights), images, wanted.ncc)
        files["kmodel"] = f"{name}.kmodel", made
    return files
