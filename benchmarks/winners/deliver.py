"""What the user takes home: the winner as int8 ``.tflite`` and C array, run in the interpreter."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emnas_gym import costs
from emnas_gym.architecture import Architecture
from hardware.export import export_float, export_int8, write_export
from hardware.interpreter import Model, backend
from predictors.datasets import Dataset


@dataclass(frozen=True)
class Quantised:
    """A trained network as files, and how well each classifies the test part.

    Attributes:
        content: The int8 file.
        float_accuracy: Test accuracy of the float32 file.
        int8_accuracy: Test accuracy of the int8 file.
        agreement: Share of test images to which both give the same class.
    """

    content: bytes
    float_accuracy: float
    int8_accuracy: float
    agreement: float


def quantise(
    architecture: Architecture, weights: dict[str, NDArray[np.float32]], data: Dataset
) -> Quantised:
    """Exports a network and runs both files in the interpreter on all test images."""
    graph = architecture.graph(data.task)
    content = export_int8(graph, weights, data.calibration)
    as_float = Model(export_float(graph, weights)).run(data.test_x).argmax(axis=1)
    as_int8 = Model(content).run(data.test_x).argmax(axis=1)
    return Quantised(
        content,
        float((as_float == data.test_y).mean()),
        float((as_int8 == data.test_y).mean()),
        float((as_float == as_int8).mean()),
    )


def deliver(
    architecture: Architecture,
    weights: dict[str, NDArray[np.float32]],
    data: Dataset,
    folder: Path,
    quantised: Quantised,
) -> dict[str, Any]:
    """Writes ``winner.tflite``, ``winner_float32.tflite`` and ``winner.h``; describes them."""
    graph = architecture.graph(data.task)
    paths = write_export(folder, "winner", graph, weights, data.calibration)
    content = paths["int8"].read_bytes()
    engine = backend().name
    return {
        "file": paths["int8"].name,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "c_array": paths["header"].name,
        "float_file": paths["float32"].name,
        "float_accuracy": quantised.float_accuracy,
        "int8_accuracy": quantised.int8_accuracy,
        "agreement": quantised.agreement,
        "interpreter": f"{engine} {version(engine)}",
        "arena_head_bytes": costs.arena_head_bytes(graph),
        "ram_bytes": costs.ram_bytes(graph),
        "flash_bytes": len(content),
    }


def load_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """Reads the weights that a verification kept."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
