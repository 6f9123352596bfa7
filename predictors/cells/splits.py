"""Splits of cells that keep isomorphic ones together.

Cells of one class compute the same function, so a table that held them on both sides would let a
predictor look its answers up.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def isomorphism_safe(
    classes: NDArray[np.int64], n_train: int, rng: np.random.Generator
) -> tuple[Indices, Indices]:
    """Draws classes: of each one cell, its representative, trains or tests.

    Args:
        classes: Index of the first cell of each cell's class, shape (N,).
        n_train: Training cells.
        rng: Decides the draw.

    Returns:
        Indices of the training cells and of the representatives of all other classes.

    Raises:
        ValueError: If there are not more classes than training cells.
    """
    representatives = np.unique(classes)
    if not 0 < n_train < len(representatives):
        raise ValueError(f"{n_train} training cells of {len(representatives)} classes")
    order = rng.permutation(representatives)
    return order[:n_train], np.sort(order[n_train:])


def all_cells(classes: NDArray[np.int64], train: Indices) -> Indices:
    """Every cell, duplicates with them, whose class no training cell has."""
    return np.flatnonzero(~np.isin(classes, classes[train]))


def leaks(classes: NDArray[np.int64], train: Indices, test: Indices) -> int:
    """Number of test cells that a training cell is isomorphic to; 0 in a safe split."""
    return int(np.isin(classes[test], classes[train]).sum())
