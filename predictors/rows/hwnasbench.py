"""Latency of NAS-Bench-201 cells on four devices of HW-NAS-Bench, from 900 measured cells.

A split draws 900 of the 6,466 isomorphism classes, each one cell, and tests on the other classes.
The model of a split is the one of `CANDIDATES` with the best cross-validated score among its 900
training cells. Times of boards (raspi4, pixel3) repeat badly: `repeatability` measures how badly,
for every cell was measured twice, once with 10 and once with 100 classes at its end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor

from predictors.cells.features import cost_counts, cost_features, counts, kept_counts, path_features
from predictors.cells.splits import all_cells, isomorphism_safe
from predictors.cells.tables import DEVICES, read_cells, read_latencies
from predictors.cells.topology import Operations
from predictors.estimators.centred_sum import CentredSumRegressor
from predictors.fitted import Figures
from predictors.rows.cell_figures import figures, intervals, mean_of
from predictors.splits import folds

Array = NDArray[np.float64]
Fit = Callable[[Operations, Array, Operations], Array]  # training cells, times, cells to predict
TRAIN = 900
SPLITS = 5
FOLDS = 3  # of the choice of a model
WITHIN = {"raspi4": 0.85, "pixel3": 0.78, "eyeriss": 0.985, "fpga": 0.995}
SPEARMAN = 0.98


def _sum(neighbours: int, train: Operations, y: Array, test: Operations) -> Array:
    model = CentredSumRegressor(neighbours).fit(cost_counts(train), y)
    return model.predict(cost_counts(test))


def _kept(train: Operations, y: Array, test: Operations) -> Array:
    model = CentredSumRegressor(200).fit(kept_counts(train), y)
    return model.predict(kept_counts(test))


def _trees(train: Operations, y: Array, test: Operations) -> Array:
    model = RandomForestRegressor(100, random_state=0).fit(_paths(train), np.log(y))
    predicted: Array = np.exp(model.predict(_paths(test)))
    return predicted


def _paths(operations: Operations) -> Array:
    """Path features with the number of each operation, without which trees count badly."""
    return np.concatenate([path_features(operations), counts(operations)], axis=1)


def _corrected(train: Operations, y: Array, test: Operations) -> Array:
    """Trees on what a sum leaves over."""
    model = CentredSumRegressor(0).fit(cost_counts(train), y)
    rest = np.log(y / model.predict(cost_counts(train)))
    trees = GradientBoostingRegressor(
        loss="absolute_error",
        n_estimators=120,
        learning_rate=0.06,
        max_depth=4,
        subsample=0.6,
        max_features=0.3,
        random_state=0,
    ).fit(cost_features(train), rest)
    sums: Array = model.predict(cost_counts(test))
    factor: Array = np.exp(trees.predict(cost_features(test)))
    return sums * factor


def _median(train: Operations, y: Array, test: Operations) -> Array:
    return np.full(len(test), np.median(y))


CANDIDATES: dict[str, Fit] = {
    "sum of operations": partial(_sum, 0),
    "sum of operations, centred": partial(_sum, 200),
    "sum of kept operations, centred": _kept,
    "sum of operations, trees on the rest": _corrected,
    "trees on path features": _trees,
}


def row(device: str) -> Figures:
    """Figures of one device, means over `SPLITS` splits; times in ms.

    Args:
        device: One of `DEVICES`.

    Raises:
        DatasetError: If the tables are not in the data folder.
    """
    begin = time.perf_counter()
    cells, y = read_cells(), read_latencies(device)
    draws = [_split(cells.operations, cells.classes, y, seed) for seed in range(SPLITS)]
    own = [draw["own"] for draw in draws]
    mean = mean_of(own)
    repeat = repeatability(device)
    names = [draw["model"] for draw in draws]
    return {
        "model": max(set(names), key=names.count),
        "n_train": TRAIN,
        "n_test": len(cells.representatives) - TRAIN,
        **mean,
        "tau_ceiling": repeat["tau"],
        "mae_floor": repeat["mae"],
        "baseline": mean_of([draw["median"] for draw in draws]),
        "trees_on_path_features": mean_of([draw["trees"] for draw in draws]),
        "params": mean_of([draw["params"] for draw in draws]),
        "macs": mean_of([draw["macs"] for draw in draws]),
        "all_cells_of_other_classes": mean_of([draw["all"] for draw in draws]),
        "seed": None,
        "target": {"within_10pct": WITHIN[device], "spearman": SPEARMAN},
        "reached": mean["within_10pct"] >= WITHIN[device] and mean["spearman"] >= SPEARMAN,
        "repeated": intervals(own),
        "tried": {name: float(np.mean([d["tried"][name] for d in draws])) for name in CANDIDATES},
        "repeatability": repeat,
        "seconds": time.perf_counter() - begin,
    }


def rows() -> dict[str, Figures]:
    """The figures of every device, by the name of their row."""
    return {f"hwnasbench_{device}": row(device) for device in DEVICES}


def _split(operations: Operations, classes: NDArray[np.int64], y: Array, seed: int) -> Figures:
    train, test = isomorphism_safe(classes, TRAIN, np.random.default_rng(seed))
    tried = {name: _score(fit, operations[train], y[train]) for name, fit in CANDIDATES.items()}
    best = max(tried, key=lambda name: tried[name])
    known, rest = (operations[train], y[train]), all_cells(classes, train)
    cells = read_cells()
    costs = {"params": cells.params, "macs": cells.macs}
    return {
        "model": best,
        "tried": tried,
        "own": figures(CANDIDATES[best](*known, operations[test]), y[test]),
        "all": figures(CANDIDATES[best](*known, operations[rest]), y[rest]),
        "median": figures(_median(*known, operations[test]), y[test]),
        "trees": figures(_trees(*known, operations[test]), y[test]),
        **{
            name: figures(_line(cost[train], y[train], cost[test]), y[test])
            for name, cost in costs.items()
        },
    }


def _score(fit: Fit, operations: Operations, y: Array) -> float:
    """Cross-validated share within ±10 % plus Spearman: the two bounds of the row."""
    predicted = np.empty(len(y))
    for train, held in folds(len(y), FOLDS):
        predicted[held] = fit(operations[train], y[train], operations[held])
    result = figures(predicted, y)
    return result["within_10pct"] + result["spearman"]


def _line(cost: Array, y: Array, asked: Array) -> Array:
    """A line through one cost, by the estimator that the sums use."""
    model = CentredSumRegressor(0).fit(cost[:, None], y)
    predicted: Array = model.predict(asked[:, None])
    return predicted


def repeatability(device: str) -> Figures:
    """How well one measurement of a cell predicts another of nearly the same network.

    The networks differ in their last layer alone, 640 against 6,400 weights; the median ratio of
    the two times is taken out. ``spearman_ceiling`` is what a predictor could reach that knows the
    true mean of every cell, were both measurements equally noisy (√ of their correlation, Spearman
    1904). ``within_10pct_bound``: two times that both lie within ±10 % of one prediction are less
    than 1.1 / 0.9 apart, so no share of hits is above √ of the share of such pairs.
    ``many_cells`` are models with 5,000 training cells, on the other measurement of the rest: what
    no number of further cells would bring.
    """
    cells = read_cells()
    shown = cells.representatives
    first, second = read_latencies(device)[shown], read_latencies(device, "c100")[shown]
    agreement = figures(second * np.median(first / second), first)
    train, test = np.split(np.random.default_rng(0).permutation(len(shown)), [5000])
    operations = cells.operations[shown]
    ratio = np.abs(np.log(second / first) - np.median(np.log(second / first)))
    many = {
        name: figures(
            CANDIDATES[name](operations[train], second[train], operations[test]), second[test]
        )
        for name in ("sum of operations, centred", "sum of operations, trees on the rest")
    }
    return {
        **agreement,
        "spearman_ceiling": max(agreement["spearman"], 0.0) ** 0.5,
        "within_10pct_bound": float((ratio <= np.log(1.1 / 0.9)).mean() ** 0.5),
        "many_cells": many,
    }
