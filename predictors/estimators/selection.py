"""Rows of networks in any encoding: matrices, lists of terms, graphs, tables of these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emnas_gym.graph_encoding import Graphs
from predictors.splits import Indices


def take(x: Any, rows: Indices | NDArray[np.bool_]) -> Any:  # noqa: ANN401
    """Some of N encoded networks.

    Args:
        x: An encoding (`emnas_gym.models.inputs`), or a table of several.
        rows: Indices, or a mask of shape (N,).
    """
    if isinstance(x, Mapping):
        return {name: take(part, rows) for name, part in x.items()}
    if isinstance(x, list):
        return [x[i] for i in np.arange(len(x))[rows]]
    return x[rows]


def count(x: Any) -> int:  # noqa: ANN401
    """Number of encoded networks.

    Raises:
        ValueError: If the encodings of a table differ in it.
    """
    if not isinstance(x, Mapping):
        return len(x)
    counts = {len(part) for part in x.values()}
    if len(counts) != 1:
        raise ValueError(f"encodings of {sorted(counts)} networks do not belong together")
    return counts.pop()


def check_finite(x: Any) -> None:  # noqa: ANN401
    """Checks encoded networks.

    Raises:
        ValueError: If a number in them is NaN or infinite.
    """
    if isinstance(x, Mapping):
        for part in x.values():
            check_finite(part)
    elif isinstance(x, Graphs):
        check_finite(x.nodes)
    else:
        values = [list(terms.values()) for terms in x] if isinstance(x, list) else [x]
        if not all(np.isfinite(np.asarray(part, dtype=np.float64)).all() for part in values):
            raise ValueError("networks are encoded in finite numbers; there is NaN or infinity")
