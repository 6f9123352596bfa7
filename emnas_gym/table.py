"""A table of architectures: one choice of an operation at each position, and what was measured."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from emnas_gym.tasks import Task
from emnas_gym.wiring import Wiring

Values = NDArray[np.float64]
Choices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Metric:
    """One way in which the architectures were trained and judged.

    Attributes:
        valid: The signal that a search sees: a share of 0 … 1 for each trial, shape (N, trials).
        test: What only a report may show, shape (N, trials of the test), perhaps without columns.
        seconds: Time that the training of an architecture took, shape (N,); None if unknown.
    """

    valid: Values
    test: Values
    seconds: Values | None = None


@dataclass(frozen=True, eq=False)
class Table:
    """Architectures by rows.

    Attributes:
        name: Name of the table.
        task: What the architectures are for.
        operations: Position → names of the operations that may stand there, in the order of tokens.
        choices: Index of the operation at each position, shape (N, positions).
        metrics: Name → signals; the first one is the default.
        costs: ``"field"`` or ``"field/device"`` → values, shape (N,); NaN where there is none,
            because the device cannot run the architecture or nobody measured it.
        labels: Equal for architectures that compute the same, shape (N,); None if all differ.
        incomplete: Whether architectures of the product may be missing.
        source: Where the figures come from.
        licence: Under which they stand.
        wiring: The graph behind the positions; None if nothing is known of it.
    """

    name: str
    task: Task
    operations: Mapping[str, tuple[str, ...]]
    choices: Choices
    metrics: Mapping[str, Metric]
    costs: Mapping[str, Values] = field(default_factory=dict)
    labels: NDArray[np.int64] | None = None
    incomplete: bool = False
    source: str = ""
    licence: str = ""
    wiring: Wiring | None = None

    def __len__(self) -> int:
        """Number of architectures."""
        return len(self.choices)

    @property
    def positions(self) -> tuple[str, ...]:
        """Names of the positions."""
        return tuple(self.operations)

    @property
    def product(self) -> int:
        """Number of architectures if every choice could be combined with every other."""
        return prod(len(names) for names in self.operations.values())

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices of which there are costs."""
        named = (name.partition("/")[2] for name in self.costs)
        return tuple(dict.fromkeys(device for device in named if device))

    @cached_property
    def first_of_class(self) -> NDArray[np.int64]:
        """Index of the first row that computes the same, shape (N,)."""
        if self.labels is None:
            return np.arange(len(self))
        _, first, inverse = np.unique(self.labels, return_index=True, return_inverse=True)
        return np.asarray(first[inverse.ravel()], dtype=np.int64)

    @cached_property
    def checksum(self) -> str:
        """Twelve hexadecimal digits that change with any name or value."""
        digest = hashlib.sha256()
        names = [self.name, self.task, list(self.operations.items()), self.incomplete]
        names += [] if self.wiring is None else [self.wiring]
        digest.update(repr(names).encode())
        for name, values in columns_of(self).items():
            digest.update(f"{name} {values.shape}".encode())
            digest.update(np.ascontiguousarray(values, dtype=np.float64).tobytes())
        return digest.hexdigest()[:12]


def columns_of(table: Table) -> dict[str, NDArray[np.float64] | NDArray[np.int64]]:
    """The columns of a file by their names, operations as indices (`emnas_gym.table_columns`)."""
    columns: dict[str, NDArray[np.float64] | NDArray[np.int64]] = {}
    for i, position in enumerate(table.positions):
        columns[f"op/{position}"] = table.choices[:, i]
    for name, metric in table.metrics.items():
        for part, values in (("valid", metric.valid), ("test", metric.test)):
            columns |= {f"{part}/{name}/{i}": values[:, i] for i in range(values.shape[1])}
        if metric.seconds is not None:
            columns[f"seconds/{name}"] = metric.seconds
    columns |= {f"cost/{name}": values for name, values in table.costs.items()}
    if table.labels is not None:
        columns["class"] = table.first_of_class
    return columns
