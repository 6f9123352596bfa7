"""A network made ready for devices: its files, one input, and the output that must come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from emnas_gym.graph import LayerGraph
from hardware.errors import DeviceRefused, ModelFileError, ProtocolError
from hardware.export import export_float, int8_program
from hardware.flat_model import write_flat
from hardware.interpreter import Model
from hardware.kmodel import make_kmodel
from hardware.model_ends import with_io
from hardware.model_file import read_model_file
from hardware.program import Array, Quantization
from hardware.random_weights import random_images
from hardware.tflite_writer import write_tflite

FLOAT_STEPS = 256.0
FAR = 1 << 30  # steps; no number lies further off
FORMATS = ("flat", "flat-small", "float32", "uint8", "kmodel")


@dataclass(frozen=True)
class Deployment:
    """One network as devices take it.

    Attributes:
        tflite: The .tflite file; int8, but for one of a user's own.
        image: One input in the network's own numbers.
        expected: The reference kernels' output for it, likewise.
        real_image: The same input as real numbers; float32, the input's shape.
        output: Scale and zero point of the output; a scale of 0 where it is float.
        dtype: Of input and output.
        files: The same network in other formats, by their names in `FORMATS`.
        trusted: Whether we wrote the file; what came from outside may crash a compiler.
    """

    tflite: bytes
    image: bytes
    expected: bytes
    real_image: Array
    output: Quantization
    dtype: str = "int8"
    files: Mapping[str, bytes] = field(default_factory=dict)
    trusted: bool = True

    def file(self, name: str) -> bytes:
        """The network in a format that a device takes.

        Raises:
            DeviceRefused: If it was not made in this format.
        """
        if name not in self.files:
            raise DeviceRefused(f"the device needs the network as {name}: give tokens, not a file")
        return self.files[name]

    def difference(self, output: bytes) -> int:
        """Largest difference of an output from the expected one, in its steps.

        A float output has 256 steps from 0 to 1.

        Raises:
            ProtocolError: If it is of another length.
        """
        if len(output) != len(self.expected):
            raise ProtocolError(f"an output of {len(output)} bytes, not {len(self.expected)}")
        given, expected = (
            np.frombuffer(content, self.dtype).astype(np.float64)
            for content in (output, self.expected)
        )
        steps = 1.0 if self.output.scale else FLOAT_STEPS
        largest = np.nan_to_num(np.abs(given - expected).max() * steps, nan=np.inf)
        return int(min(np.ceil(largest), FAR))


def deploy(
    graph: LayerGraph,
    weights: Mapping[str, Array],
    images: Array,
    formats: Sequence[str] = ("flat",),
) -> Deployment:
    """Makes a network ready.

    Args:
        graph: Any graph; training-only operations are dropped.
        weights: Arrays with the names and shapes of `LayerGraph.weight_shapes`.
        images: (N, *input shape) float32, for calibration; the first is the input.
        formats: Which of `FORMATS` to make beside the int8 .tflite file.

    Raises:
        WeightsError: If weights are missing, of another shape or not finite.
        DatasetError: If the images do not fit the input.
        ModelFileError: If a format has not all of its operators.
        CompilerError: If the converter to a format refuses the network.
        BackendMissing: If no interpreter is installed, or no converter to a format.
    """
    program = int8_program(graph, weights, images)
    tflite = write_tflite(program)
    makers: dict[str, Callable[[], bytes]] = {
        "flat": lambda: write_flat(program, tflite),
        "flat-small": lambda: write_flat(program, tflite, small=True),
        "float32": lambda: export_float(graph, weights),
        "uint8": lambda: write_tflite(with_io(program, "uint8")),
        "kmodel": lambda: make_kmodel(export_float(graph, weights), images),
    }
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise ModelFileError(f"there is no format {unknown[0]!r}, only {', '.join(FORMATS)}")
    files = {name: makers[name]() for name in formats}
    return _deployment(tflite, np.asarray(images[0], np.float32), files)


def deploy_file(path: Path) -> Deployment:
    """Makes a .tflite file of unknown origin ready, with noise for an input.

    Raises:
        ModelFileError: If it cannot be read or run.
    """
    content = read_model_file(path)
    image = random_images(Model(content).input_shape, 1)[0]
    return replace(_deployment(content, image, {}), trusted=False)


def _deployment(tflite: bytes, image: Array, files: Mapping[str, bytes]) -> Deployment:
    reference = Model(tflite, reference=True)
    integers = reference.quantize(image[np.newaxis])
    expected = reference.raw(integers)
    return Deployment(
        tflite,
        integers.tobytes(),
        expected.tobytes(),
        image,
        reference.output_quantization,
        str(reference.input_dtype),
        files,
    )
