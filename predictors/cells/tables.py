"""Tables of measured cells: NAS-Bench-201 accuracies and HW-NAS-Bench latencies.

Both lie in the data folder (`predictors.external`) as npz files with one row a cell, in the
official order of NAS-Bench-201; nothing in a file is trusted.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emnas_gym.array_file import BROKEN
from emnas_gym.errors import DatasetError, UnknownName
from predictors.cells.topology import EDGES, OPERATIONS, Operations
from predictors.external import data_file

Array = NDArray[np.float64]
ACCURACIES = "nb201/nb201_accuracy.npz"
LATENCIES = "nb201/hwnasbench_nb201.npz"
CELLS = len(OPERATIONS) ** len(EDGES)
LARGEST_BYTES = 1 << 26  # of the file, and of each array in it
DEVICES = ("raspi4", "pixel3", "eyeriss", "fpga")
MEASURED = ("edgegpu", "raspi4", "edgetpu", "pixel3", "eyeriss", "fpga")
WITH_ENERGY = ("edgegpu", "eyeriss", "fpga")
CANNOT_RUN = -1.0


@dataclass(frozen=True)
class Cells:
    """Every cell of NAS-Bench-201.

    Attributes:
        operations: Operation on each edge, shape (N, 6).
        classes: Index of the first cell of the same isomorphism class, shape (N,).
        params: Weights of the CIFAR-10 network in millions, shape (N,).
        macs: Multiply-accumulates of the CIFAR-10 network in millions, shape (N,).
    """

    operations: Operations
    classes: NDArray[np.int64]
    params: Array
    macs: Array

    @property
    def representatives(self) -> NDArray[np.int64]:
        """The first cell of each class: no two of them compute the same."""
        return np.unique(self.classes)


@lru_cache(maxsize=1)
def read_cells() -> Cells:
    """All cells with their classes and costs.

    Raises:
        DatasetError: If the file is missing, damaged, or is not a table of all cells.
    """
    names = [f"op{edge}" for edge in range(len(EDGES))]
    columns = _columns(ACCURACIES, [*names, "iso_rep", "params_m_c10", "flops_m_c10"])
    operations = np.stack([columns[name] for name in names], axis=1)
    classes = columns["iso_rep"].astype(np.int64)
    if operations.dtype.kind not in "iu" or not _within(operations, len(OPERATIONS)):
        raise DatasetError(f"{ACCURACIES}: operations are the numbers 0 … {len(OPERATIONS) - 1}")
    if len(np.unique(operations, axis=0)) != CELLS:
        raise DatasetError(f"{ACCURACIES}: holds a cell twice; every cell must be there once")
    if not _within(classes, CELLS) or (classes[classes] != classes).any():
        raise DatasetError(f"{ACCURACIES}: iso_rep does not name the first cell of each class")
    costs = {name: columns[name].astype(np.float64) for name in ("params_m_c10", "flops_m_c10")}
    return Cells(operations.astype(np.int8), classes, *costs.values())


def read_accuracies(name: str = "c100_test_200") -> Array:
    """Accuracies of all cells, 0 … 1, shape (N,).

    Args:
        name: Data set, part and epochs as in the file, e.g. ``"c10_val_12"``.

    Raises:
        DatasetError: If the file is missing or damaged, or a value is no percentage.
    """
    values = _columns(ACCURACIES, [name])[name].astype(np.float64) / 100
    if not ((values >= 0) & (values <= 1)).all():
        raise DatasetError(f"{ACCURACIES}: {name} is not made of percentages")
    return values


def read_latencies(device: str, data: str = "c10") -> Array:
    """Latencies of all cells in ms, shape (N,).

    Args:
        device: One of `DEVICES`.
        data: ``"c10"`` or ``"c100"``; the networks differ in their classifier alone, and each was
            measured on its own.

    Raises:
        DatasetError: If the file is missing or damaged, or a value is not above 0.
    """
    name = f"{data}_{device}_latency"
    values = _columns(LATENCIES, [name])[name].astype(np.float64)
    if not (values > 0).all():
        raise DatasetError(f"{LATENCIES}: {name} is not made of times above 0")
    return values


def read_device(device: str, data: str = "c10") -> dict[str, Array]:
    """What was measured on a device, by field, shape (N,); NaN where it cannot run a cell.

    Args:
        device: One of `MEASURED`.
        data: ``"c10"`` or ``"c100"``.

    Raises:
        UnknownName: If there is no such device.
        DatasetError: If the file is missing or damaged, or a value is neither above 0 nor the mark
            of a cell that cannot run.
    """
    if device not in MEASURED:
        raise UnknownName("device of HW-NAS-Bench", device, MEASURED)
    fields = {"latency_ms": "latency"} | ({"energy_mj": "energy"} if device in WITH_ENERGY else {})
    found = {}
    for field, word in fields.items():
        name = f"{data}_{device}_{word}"
        values = _columns(LATENCIES, [name])[name].astype(np.float64)
        if not ((values > 0) | (values == CANNOT_RUN)).all():
            raise DatasetError(
                f"{LATENCIES}: {name} is not made of numbers above 0 or {CANNOT_RUN}"
            )
        found[field] = np.where(values > 0, values, np.nan)
    return found


def read_numbers(name: str) -> Array:
    """Any column of numbers beside the accuracies, such as seconds of an epoch, shape (N,).

    Raises:
        DatasetError: If the file is missing or damaged, or a value is negative.
    """
    values = _columns(ACCURACIES, [name])[name].astype(np.float64)
    if not (values >= 0).all():
        raise DatasetError(f"{ACCURACIES}: {name} holds a negative value")
    return values


def _within(values: NDArray[Any], end: int) -> bool:
    return bool(((values >= 0) & (values < end)).all())


def _columns(relative: str, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    path = data_file(relative)
    try:
        _check_sizes(path, names)
        with np.load(path, allow_pickle=False) as file:
            columns = {name: np.asarray(file[name]) for name in names}
    except BROKEN as error:
        raise DatasetError(f"{path}: is not a table of cells: {error}") from error
    for name, values in columns.items():
        if values.shape != (CELLS,) or values.dtype.kind not in "iuf":
            raise DatasetError(f"{path}: {name} is not {CELLS} numbers")
        if not np.isfinite(values.astype(np.float64)).all():
            raise DatasetError(f"{path}: {name} holds a value that is not finite")
    return columns


def _check_sizes(path: Path, names: Sequence[str]) -> None:
    """Refuses what would unpack to more than a table needs, and names what is missing."""
    if path.stat().st_size > LARGEST_BYTES:
        raise DatasetError(f"{path}: has more than {LARGEST_BYTES} bytes")
    with zipfile.ZipFile(path) as archive:
        sizes = {info.filename: info.file_size for info in archive.infolist()}
    for name in names:
        if f"{name}.npy" not in sizes:
            raise DatasetError(f"{path}: lacks the column {name}")
        if sizes[f"{name}.npy"] > LARGEST_BYTES:
            raise DatasetError(f"{path}: {name} unpacks to more than {LARGEST_BYTES} bytes")
