"""Turns NAS-Bench-201 and HW-NAS-Bench into a table of architectures that can be searched."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emnas_gym.errors import UnknownName
from emnas_gym.table import Metric, Table
from emnas_gym.tasks import Task
from emnas_gym.wiring import Wiring
from predictors.cells.tables import (
    MEASURED,
    Array,
    read_accuracies,
    read_cells,
    read_device,
    read_numbers,
)
from predictors.cells.topology import EDGES, NONE, OPERATIONS

DATASETS = {"cifar10": ("c10", 10), "cifar100": ("c100", 100)}
EPOCHS = (200, 12)  # the first is the default metric
SECONDS = "c10valid_sec_per_epoch_est"  # known of CIFAR-10 alone
SOURCE = (
    "NAS-Bench-201 (Dong and Yang 2020), accuracies of NATS-Bench v1.0; HW-NAS-Bench (Li et al. "
    "2021); seconds of an epoch fitted on measured ones"
)


def nb201_table(dataset: str = "cifar10", devices: Sequence[str] = MEASURED) -> Table:
    """All 15,625 cells: six edges, five operations, isomorphism classes, costs of devices.

    Metrics are ``epochs_200`` and ``epochs_12``: the validation accuracy after so many epochs. The
    test report of both is the accuracy after 200, what a delivered cell would have. Training
    seconds are epochs times the seconds of one, known of CIFAR-10 alone.

    Args:
        dataset: One of `DATASETS`.
        devices: Some of `MEASURED`; a cell that a device cannot run has no cost there.

    Raises:
        UnknownName: If a data set or device is unknown.
        DatasetError: If the files are missing or damaged.
    """
    if dataset not in DATASETS:
        raise UnknownName("data set of NAS-Bench-201", dataset, DATASETS)
    short, classes = DATASETS[dataset]
    cells = read_cells()
    test = read_accuracies(f"{short}_test_200")[:, None]
    metrics = {
        f"epochs_{epochs}": Metric(
            read_accuracies(f"{short}_val_{epochs}")[:, None], test, _seconds(short, epochs)
        )
        for epochs in EPOCHS
    }
    costs = {
        "params": _from_millions(read_numbers(f"params_m_{short}")),
        "macs": _from_millions(read_numbers(f"flops_m_{short}")),
    }
    for device in devices:
        found = read_device(device, short)
        costs |= {f"{field}/{device}": values for field, values in found.items()}
    return Table(
        name=f"nb201-{dataset}",
        task=Task(dataset, (32, 32, 3), classes, has_images=False),
        operations={f"{source}→{target}": OPERATIONS for source, target in EDGES},
        choices=cells.operations.astype(np.int64),
        metrics=metrics,
        costs=costs,
        labels=cells.classes,
        source=SOURCE,
        licence="MIT",
        wiring=Wiring(EDGES, OPERATIONS[NONE]),
    )


def _seconds(short: str, epochs: int) -> Array | None:
    return epochs * read_numbers(SECONDS) if short == "c10" else None


def _from_millions(values: Array) -> Array:
    whole: Array = np.round(values * 1e6)
    return whole
