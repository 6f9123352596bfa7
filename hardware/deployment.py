"""A network made ready for devices: its files, one input, and the output that must come back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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

FORMATS = ("flat", "float32", "uint8", "kmodel")


@dataclass(frozen=True)
class Deployment:
    """One network as devices take it.

    Attributes:
        tflite: The int8 .tflite file.
        image: One input in the network's own numbers, int8.
        expected: The reference kernels' output for it, int8.
        real_image: The same input as real numbers; float32, the input's shape.
        output: Scale and zero point of the output.
        files: The same network in other formats, by their names in `FORMATS`.
    """

    tflite: bytes
    image: bytes
    expected: bytes
    real_image: Array
    output: Quantization
    files: Mapping[str, bytes] = field(default_factory=dict)

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

        Raises:
            ProtocolError: If it is of another length.
        """
        if len(output) != len(self.expected):
            raise ProtocolError(f"an output of {len(output)} bytes, not {len(self.expected)}")
        given, expected = (np.frombuffer(o, np.int8).astype(int) for o in (output, self.expected))
        return int(np.abs(given - expected).max())


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
    """Makes an int8 .tflite file of unknown origin ready, with noise for an input.

    Raises:
        ModelFileError: If it cannot be run, or is not int8 from end to end.
    """
    content = read_model_file(path)
    model = Model(content)
    if model.input_dtype != np.int8:
        raise ModelFileError(f"{path}: takes {model.input_dtype}; devices are given int8 files")
    return _deployment(content, random_images(model.input_shape, 1)[0], {})


def _deployment(tflite: bytes, image: Array, files: Mapping[str, bytes]) -> Deployment:
    reference = Model(tflite, reference=True)
    integers = reference.quantize(image[np.newaxis])
    expected = reference.raw(integers)
    output = reference.output_quantization
    return Deployment(tflite, integers.tobytes(), expected.tobytes(), image, output, files)
