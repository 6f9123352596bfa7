"""A network made ready for a board: its files, one input, and the output that must come back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from emnas_gym.graph import LayerGraph
from hardware.export import int8_program
from hardware.flat_model import write_flat
from hardware.interpreter import Model
from hardware.program import Array
from hardware.tflite_writer import write_tflite


@dataclass(frozen=True)
class Deployment:
    """One network as boards take it.

    Attributes:
        tflite: The int8 .tflite file.
        flat: The same network in the format of our firmware.
        image: One input in the network's own numbers.
        expected: The reference kernels' output for it.
    """

    tflite: bytes
    flat: bytes
    image: bytes
    expected: bytes


def deploy(graph: LayerGraph, weights: Mapping[str, Array], images: Array) -> Deployment:
    """Makes a network ready.

    Args:
        graph: Any graph; training-only operations are dropped.
        weights: Arrays with the names and shapes of `LayerGraph.weight_shapes`.
        images: (N, *input shape) float32, for calibration; the first is the input.

    Raises:
        WeightsError: If weights are missing, of another shape or not finite.
        DatasetError: If the images do not fit the input.
        ModelFileError: If our firmware has not all of its operators.
        BackendMissing: If no interpreter is installed.
    """
    program = int8_program(graph, weights, images)
    tflite = write_tflite(program)
    reference = Model(tflite, reference=True)
    image = reference.quantize(np.asarray(images[:1], np.float32))
    expected = reference.raw(image)
    return Deployment(tflite, write_flat(program, tflite), image.tobytes(), expected.tobytes())
