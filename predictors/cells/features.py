"""What a cell looks like as numbers, with no training and no measurement."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from predictors.cells.topology import (
    CONV1,
    CONV3,
    EDGES,
    NONE,
    OPERATIONS,
    PATHS,
    POOL,
    SKIP,
    Operations,
    active,
    connected,
    only,
    reached,
    used,
)

Array = NDArray[np.float64]


def path_encoding(operations: Operations) -> Array:
    """Which ways from input to output there are, by their operations (White et al. 2021).

    Returns:
        Shape (N, 4 + 16 + 16 + 64): one column for each sequence of operations, in the order of
        `PATHS`, other than ``none``; the two ways of two edges have columns of their own.
    """
    columns = [
        np.all([operations[:, edge] == op for edge, op in zip(path, word, strict=True)], axis=0)
        for path in PATHS
        for word in itertools.product(range(1, len(OPERATIONS)), repeat=len(path))
    ]
    return np.stack(columns, axis=1).astype(np.float64)


def edge_encoding(operations: Operations) -> Array:
    """Each edge's operation one-hot, ``none`` as zeros, shape (N, 24)."""
    hot = [operations == op for op in range(1, len(OPERATIONS))]
    return np.concatenate(hot, axis=1).astype(np.float64)


def counts(operations: Operations) -> Array:
    """How often each operation other than ``none`` stands in the cell, shape (N, 4)."""
    numbers = [(operations == op).sum(axis=1) for op in range(1, len(OPERATIONS))]
    return np.stack(numbers, axis=1).astype(np.float64)


def cost_counts(operations: Operations) -> Array:
    """Operations counted as compilers differ about which of them run, shape (N, 17).

    Four counts each of all edges, of those that the output uses, of those that the input reaches,
    and of those on a way from input to output; last, whether there are edges on no such way.
    """
    live = active(operations)
    kept = [used(operations), reached(operations), live]
    dead = (live.sum(axis=1) < connected(operations).sum(axis=1)).astype(np.float64)
    groups = [counts(operations), *(counts(only(operations, edges)) for edges in kept)]
    return np.concatenate([*groups, dead[:, None]], axis=1)


def kept_counts(operations: Operations) -> Array:
    """Counts of the operations that a converter to TensorFlow Lite keeps, shape (N, 8).

    It drops what goes into the last inner node where that node's only way out is ``none``. What
    else it makes of nodes without input or output is left to four flags to learn: no way out of
    the last inner node, nothing into the first, nothing into the last, no way out of the first.
    """
    none = operations == NONE
    kept = operations.copy()
    kept[none[:, 5], 1:3] = NONE
    flags = [none[:, 5], none[:, 0], none[:, 1] & none[:, 2], none[:, 2] & none[:, 4]]
    return np.concatenate([counts(kept), np.stack(flags, axis=1).astype(np.float64)], axis=1)


def cost_features(operations: Operations) -> Array:
    """`cost_counts` with every edge's operation, as it stands and where it is active."""
    live = only(operations, active(operations))
    parts = [cost_counts(operations), edge_encoding(operations), edge_encoding(live)]
    return np.concatenate(parts, axis=1)


def path_features(operations: Operations) -> Array:
    """The path encoding with the operations of every edge: the baseline of trees."""
    return np.concatenate([path_encoding(operations), edge_encoding(operations)], axis=1)


def way_statistics(operations: Operations) -> Array:
    """What the ways from input to output have in common: depth, width, shortcuts, pooling.

    Of the layers that a way passes: how many are 3×3 convolutions, convolutions, poolings, skips
    and how far it sees; of these numbers the largest, the least and the sum over all ways. Then
    ways in all, without weights, without pooling, and the like.

    Returns:
        Shape (N, 22); a cell without a way is a row of zeros.
    """
    open_ = np.stack([connected(operations)[:, path].all(axis=1) for path in PATHS], axis=1)
    per_op = {op: _along(operations, op) for op in range(1, len(OPERATIONS))}
    weighted = per_op[CONV3] + per_op[CONV1]
    pools = per_op[POOL]
    extremes = [
        f(values, open_) for values in (per_op[CONV3], weighted, pools) for f in (_most, _least)
    ]
    sums = [(values * open_).sum(axis=1) for values in (per_op[CONV3], weighted, pools)]
    kinds = [
        open_,
        open_ & (weighted == 0) & (pools == 0),
        open_ & (weighted == 0),
        open_ & (pools == 0),
        open_ & (per_op[CONV3] > 0),
        open_ & (per_op[CONV3] > 0) & (pools == 0),
    ]
    shares = [kind.sum(axis=1) for kind in kinds]
    sight = [_most(2 * per_op[CONV3] + pools, open_), _most(per_op[SKIP], open_)]
    live = counts(only(operations, active(operations)))
    rest = [open_.any(axis=1)]
    columns = np.stack([*extremes, *sums, *shares, *sight, *rest], axis=1).astype(np.float64)
    return np.concatenate([columns, live], axis=1)


def _along(operations: Operations, op: int) -> NDArray[np.int64]:
    """How often an operation stands on each way, shape (N, ways)."""
    numbers = [(operations[:, path] == op).sum(axis=1) for path in PATHS]
    return np.stack(numbers, axis=1)


def _most(values: NDArray[np.int64], open_: NDArray[np.bool_]) -> NDArray[np.int64]:
    most: NDArray[np.int64] = np.where(open_, values, 0).max(axis=1)
    return most


def _least(values: NDArray[np.int64], open_: NDArray[np.bool_]) -> NDArray[np.int64]:
    least = np.where(open_, values, len(EDGES)).min(axis=1)
    return np.where(open_.any(axis=1), least, 0)


def conv3_count(operations: Operations) -> NDArray[np.int64]:
    """Active 3×3 convolutions: the family of a cell, 0 … 6."""
    number: NDArray[np.int64] = (only(operations, active(operations)) == CONV3).sum(axis=1)
    return number
