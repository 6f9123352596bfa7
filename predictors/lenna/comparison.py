"""How well predictors tell the latency of blocks that they have not seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from predictors.intervals import interval
from predictors.lenna.contenders import Alone, make_contender
from predictors.lenna.gates import Array
from predictors.lenna.row_store import BlockRows
from predictors.metrics import ranks
from predictors.splits import folds

Indices = NDArray[np.int64]
SPLITS = ("random", "grouped")
NEAR = (0.05, 0.1)
FIGURES = ("mape", "tau", "r2", "within_5", "within_10", "bias", "permuted_mape")


def compare(
    rows: BlockRows,
    names: Sequence[str],
    alone: Alone,
    parts: int = 5,
    split: str = "random",
    advance: Callable[[str], object] = lambda name: None,
) -> dict[str, dict[str, list[float]]]:
    """Figures of every predictor on each part, predicted from the other parts.

    Args:
        rows: What was measured.
        names: Of `predictors.lenna.contenders.NAMES`.
        alone: What measures operations alone.
        parts: Of the cross-validation.
        split: ``"random"`` rows, or ``"grouped"``: all rows of one type and width together.
        advance: Called after each fit.

    Returns:
        Name → figure → low end, mean and high end of its 95 % interval over the parts.
    """
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for part, (train, test) in enumerate(split_rows(rows.x, parts, split)):
        for name in names:
            contender = make_contender(name, alone, seed=part)
            contender.fit(rows.x[train], rows.latency_us[train])
            predicted = contender.predict(rows.x[test])
            shuffled = contender.predict(permuted(rows.x[test], seed=part))
            found[name].append(
                agreement(predicted, rows.latency_us[test])
                | {"permuted_mape": agreement(shuffled, rows.latency_us[test])["mape"]}
            )
            advance(name)
    return {
        name: {key: interval(np.array([part[key] for part in parts_])) for key in FIGURES}
        for name, parts_ in found.items()
    }


def split_rows(x: Array, parts: int, split: str) -> Iterator[tuple[Indices, Indices]]:
    """Training and test rows of each part; no row, and no group, is on both sides."""
    if split == "random":
        yield from folds(len(x), parts)
        return
    _, group = np.unique(x[:, :2], axis=0, return_inverse=True)
    for train, test in folds(int(group.max()) + 1, parts):
        yield np.flatnonzero(np.isin(group, train)), np.flatnonzero(np.isin(group, test))


def agreement(predicted: Array, measured: Array) -> dict[str, float]:
    """Relative errors, ranks, and the share of the variance that is explained."""
    relative = predicted / measured - 1
    residual = ((predicted - measured) ** 2).sum()
    found = {
        "mape": float(np.abs(relative).mean()),
        "tau": float(ranks(predicted, measured)["tau"] or 0.0),
        "r2": float(1 - residual / ((measured - measured.mean()) ** 2).sum()),
        "bias": float(relative.mean()),
    }
    return found | {
        f"within_{100 * near:g}": float((np.abs(relative) <= near).mean()) for near in NEAR
    }


def permuted(x: Array, seed: int = 0) -> Array:
    """Rows whose probabilities are those of another row of the same type; G18's test of reading."""
    rng, mixed = np.random.default_rng(seed), x.copy()
    for kind in (0.0, 1.0):
        rows = np.flatnonzero(x[:, 0] == kind)
        mixed[rows, 2:] = x[rng.permutation(rows), 2:]
    return mixed


def within_groups(
    rows: BlockRows, parts: int = 5
) -> dict[str, dict[str, list[float]] | dict[str, float]]:
    """Least squares within each group of one type and width: its R² on rows that it has not seen.

    On serial execution a latency is linear in the probabilities, so that this is what a data set
    has to hold whose rows are what was measured (LENNA's committed generator fails it).

    Returns:
        ``"{type} {channels}"`` → figure → interval over the parts.
    """
    found: dict[str, Any] = {}
    for kind, channels in np.unique(rows.x[:, :2], axis=0).tolist():
        chosen = np.flatnonzero((rows.x[:, 0] == kind) & (rows.x[:, 1] == channels))
        name = f"{'normal' if kind else 'reduction'} {channels:g}"
        found[name] = _linear(rows.x[chosen], rows.latency_us[chosen], parts)
    return found


def _linear(x: Array, y: Array, parts: int) -> Mapping[str, list[float]]:
    figures = []
    for train, test in folds(len(x), parts):
        weights, *_ = np.linalg.lstsq(x[train, 2:], y[train], rcond=None)
        figures.append(agreement(x[test, 2:] @ weights, y[test]))
    keys = ("r2", "mape")
    return {key: interval(np.array([each[key] for each in figures])) for key in keys} | {
        "rows": [float(len(x))] * 3
    }
