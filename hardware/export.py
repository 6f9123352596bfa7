"""From a graph and its weights to files that a board can use."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from emnas_gym.errors import EmNASError
from emnas_gym.graph import LayerGraph
from hardware.calibration import calibrate
from hardware.lowering import lower_float, lower_int8
from hardware.program import Array, Program
from hardware.tflite_writer import write_tflite

BYTES_A_LINE = 12


def export_float(graph: LayerGraph, weights: Mapping[str, Array]) -> bytes:
    """A float32 .tflite file.

    Args:
        graph: Any graph; training-only operations are dropped.
        weights: Arrays with the names and shapes of `LayerGraph.weight_shapes`.

    Raises:
        WeightsError: If weights are missing, of another shape or not finite.
        BackendMissing: If ai-edge-litert is not installed.
    """
    return write_tflite(lower_float(graph, weights))


def export_int8(
    graph: LayerGraph, weights: Mapping[str, Array], calibration_images: Array
) -> bytes:
    """A full int8 .tflite file, int8 in and out, with its arena plan.

    Args:
        graph: Any graph; training-only operations are dropped.
        weights: Arrays with the names and shapes of `LayerGraph.weight_shapes`.
        calibration_images: (N, *input shape) float32 that look like what the network will see.

    Raises:
        WeightsError: If weights are missing, of another shape or not finite.
        DatasetError: If the images do not fit the input.
        BackendMissing: If ai-edge-litert is not installed.
    """
    return write_tflite(int8_program(graph, weights, calibration_images))


def int8_program(
    graph: LayerGraph, weights: Mapping[str, Array], calibration_images: Array
) -> Program:
    """The int8 program behind `export_int8`, which other formats are written from as well."""
    program = lower_float(graph, weights)
    ranges = calibrate(write_tflite(program), program.output + 1, calibration_images)
    return lower_int8(graph, weights, ranges)


def c_array(name: str, content: bytes) -> str:
    """A C header that holds a file as an aligned array.

    Args:
        name: Any text; what C does not allow in a name becomes an underscore.
        content: The bytes.
    """
    symbol = re.sub(r"\W", "_", name, flags=re.ASCII) or "model"
    if symbol[0].isdigit():
        symbol = f"model_{symbol}"
    rows = (content[i : i + BYTES_A_LINE] for i in range(0, len(content), BYTES_A_LINE))
    body = "\n".join("  " + " ".join(f"0x{byte:02x}," for byte in row) for row in rows)
    guard = f"{symbol.upper()}_H"
    return (
        f"#ifndef {guard}\n#define {guard}\n\n"
        f"/* {symbol}: a TensorFlow Lite model of {len(content)} bytes. */\n"
        f"static const unsigned char {symbol}[] __attribute__((aligned(16))) = {{\n{body}\n}};\n"
        f"static const unsigned int {symbol}_size = {len(content)}u;\n\n#endif\n"
    )


def write_export(
    folder: Path,
    name: str,
    graph: LayerGraph,
    weights: Mapping[str, Array],
    calibration_images: Array,
) -> dict[str, Path]:
    """Writes a network as an int8 file, a float file and a C header.

    Args:
        folder: Made if it is not there.
        name: Stem of the files.
        graph: Any graph; training-only operations are dropped.
        weights: Arrays with the names and shapes of `LayerGraph.weight_shapes`.
        calibration_images: (N, *input shape) float32.

    Returns:
        The paths: ``int8``, ``float32`` and ``header`` (of the int8 file).

    Raises:
        EmNASError: If the name is a path, the folder cannot be written, or `export_int8` fails.
    """
    if not name or Path(name).name != name:
        raise EmNASError(f"{name!r} is no stem of a file name")
    int8 = export_int8(graph, weights, calibration_images)
    files = {
        "int8": (f"{name}.tflite", int8),
        "float32": (f"{name}_float32.tflite", export_float(graph, weights)),
        "header": (f"{name}.h", c_array(name, int8).encode("ascii")),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return {
            kind: write_whole(folder / file, content) for kind, (file, content) in files.items()
        }
    except OSError as error:
        raise EmNASError(f"{folder} cannot be written: {error.strerror or error}") from error


def write_whole(path: Path, content: bytes) -> Path:
    """Writes a file that is either whole or not there, and returns its path."""
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(content)
    os.replace(partial, path)
    return path
