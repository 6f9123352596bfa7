"""The row of LENNA's data: block type, channels, probabilities of 11 operations on 15 edges.

Columns stand in the documented order: ``b_type`` (1 normal, 0 reduction), ``in_ch``, then for edge
0 to 14 the operations of `OPERATIONS` as ``{operation}_{edge}``: 167 in all. A reduction block has
no identity on the five edges that leave its input, so that ``Identity_0, _1, _3, _6, _10`` are 0
there. In a normal block they hardly ever are, so that these five columns tell the block type too
(`LEAKS`): a predictor that reads ``b_type`` learns nothing by them that it was not told. Where a
type is to be unknown, they have to go with it (`without_type`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import DatasetError
from predictors.lenna.gates import Array

LAYERS = 5
EDGES = tuple((source, target) for target in range(1, LAYERS + 1) for source in range(target))
FIRST_EDGES = tuple(edge for edge, (source, _) in enumerate(EDGES) if source == 0)  # 0 1 3 6 10
OPERATIONS = (
    "3x3_Conv", "5x5_Conv", "3x3_ConvDW", "5x5_ConvDW", "3x3_dConv", "5x5_dConv", "3x3_dConvDW",
    "5x5_dConvDW", "3x3_maxpool", "3x3_avgpool", "Identity",
)  # fmt: skip
IDENTITY = len(OPERATIONS) - 1
SHAPE = len(EDGES), len(OPERATIONS)
COLUMNS = (
    "b_type",
    "in_ch",
    *(f"{name}_{edge}" for edge in range(len(EDGES)) for name in OPERATIONS),
)
LEAKS = tuple(f"Identity_{edge}" for edge in FIRST_EDGES)
TARGET = "latency_us"
MOST_CHANNELS = 1000


def offered(reduction: bool) -> NDArray[np.bool_]:
    """Which operations the edges of a block have, shape (15, 11)."""
    table = np.ones(SHAPE, dtype=np.bool_)
    table[list(FIRST_EDGES), IDENTITY] = not reduction
    return table


def to_row(reduction: bool, channels: int, probabilities: Array) -> Array:
    """The 167 columns of a block.

    Args:
        reduction: Type of the block.
        channels: Of its input, 1 to 1,000.
        probabilities: Shape (15, 11), 0 where an edge has no such operation.

    Raises:
        DatasetError: If a number is none of its kind.
    """
    if not 1 <= channels <= MOST_CHANNELS:
        raise DatasetError(f"a block has 1 to {MOST_CHANNELS} channels, not {channels}")
    check_probabilities(reduction, probabilities)
    return np.concatenate([[float(not reduction), float(channels)], probabilities.ravel()])


def check_probabilities(reduction: bool, probabilities: Array) -> None:
    """Checks the probabilities of a block.

    Raises:
        DatasetError: If they have another shape, are not finite, do not sum to 1 on every edge, or
            an edge has one for an operation that it does not offer.
    """
    if probabilities.shape != SHAPE:
        raise DatasetError(f"a block has probabilities of shape {SHAPE}, not {probabilities.shape}")
    if not np.isfinite(probabilities).all():
        raise DatasetError("a probability is not a number: check the architecture parameters")
    if probabilities.min() < 0 or not np.allclose(probabilities.sum(axis=1), 1.0, atol=1e-6):
        raise DatasetError("probabilities of an edge are not negative and sum to 1")
    if (probabilities[~offered(reduction)] != 0).any():
        raise DatasetError("no identity can shrink a map: its probability is 0 on edges 0 1 3 6 10")


def one_hot_type(rows: Array) -> Array:
    """Rows with the type as two columns, ``b_type_0`` and ``b_type_1``: 168, as LENNA's have.

    Args:
        rows: Shape (N, 167).
    """
    is_normal = rows[:, :1]
    return np.concatenate([1 - is_normal, is_normal, rows[:, 1:]], axis=1)


def without_type(rows: Array) -> Array:
    """Rows with nothing that tells the block type: 161 columns, ``b_type`` and `LEAKS` are gone.

    Args:
        rows: Shape (N, 167).
    """
    hidden = {"b_type", *LEAKS}
    return rows[:, [i for i, name in enumerate(COLUMNS) if name not in hidden]]


def blocks_of(rows: Array) -> tuple[NDArray[np.bool_], Array, Array]:
    """Whether blocks are reductions (N,), their channels (N,) and probabilities (N, 15, 11).

    Args:
        rows: Shape (N, 167).

    Raises:
        DatasetError: If they have another shape.
    """
    if rows.ndim != 2 or rows.shape[1] != len(COLUMNS):
        raise DatasetError(f"rows have {len(COLUMNS)} columns, not the shape {rows.shape}")
    return rows[:, 0] == 0, rows[:, 1], rows[:, 2:].reshape(-1, *SHAPE)
