"""CIFAR-100 accuracy of NAS-Bench-201 cells from 100 trained ones.

A draw takes 100 of the 6,466 isomorphism classes, each one cell, and tests on all other classes.
Nothing but the cell is read: no curve, no other data set. The model of a draw is the one of
`CANDIDATES` with the best cross-validated τ among its 100 training cells.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Kernel, Matern, WhiteKernel

from predictors.cells.features import counts, edge_encoding, path_encoding, way_statistics
from predictors.cells.splits import all_cells, isomorphism_safe
from predictors.cells.tables import read_accuracies, read_cells
from predictors.cells.topology import Operations, active, only
from predictors.fitted import Figures
from predictors.rows.cell_figures import figures, interval, intervals, mean_of
from predictors.splits import folds

Array = NDArray[np.float64]
Encoding = Callable[[Operations], Array]
Fit = Callable[[Operations, Array, Operations], Array]  # training cells, scores, cells to predict
TRAIN = 100
DRAWS = 20
TAU = 0.76
TAIL = 10  # training cells that show how accuracies go on beyond the best and the worst
LEAST_DEVIATION = 0.2  # features that vary less in training are not blown up
LENGTHS = (1.0, 100.0)  # bounds of a kernel's length, in deviations


def ways_and_edges(operations: Operations) -> Array:
    """`way_statistics` and the operation of every active edge."""
    live = only(operations, active(operations))
    return np.concatenate([way_statistics(operations), edge_encoding(live)], axis=1)


def paths_and_counts(operations: Operations) -> Array:
    """The path encoding with the operations of active edges and their numbers: for trees."""
    live = only(operations, active(operations))
    parts = [path_encoding(operations), edge_encoding(live), counts(live)]
    return np.concatenate(parts, axis=1)


def _matern() -> Kernel:
    return Matern(5.0, LENGTHS, nu=1.5)


def _smooth() -> Kernel:
    return RBF(5.0, LENGTHS)


def _gaussian(
    kernel: Callable[[], Kernel], encode: Encoding, train: Operations, y: Array, test: Operations
) -> Array:
    """A Gaussian process whose amplitude, length and noise are those of greatest likelihood."""
    x = encode(train)
    centre, scale = x.mean(axis=0), np.maximum(x.std(axis=0), LEAST_DEVIATION)
    covariance = ConstantKernel(1.0) * kernel() + WhiteKernel(0.1, (1e-3, 1.0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a bound was reached, which is meant
        model = GaussianProcessRegressor(covariance, normalize_y=True).fit((x - centre) / scale, y)
    predicted: Array = model.predict((encode(test) - centre) / scale)
    return predicted


def _trees(train: Operations, y: Array, test: Operations) -> Array:
    model = GradientBoostingRegressor(
        n_estimators=150, learning_rate=0.06, subsample=0.6, max_features=0.3, random_state=0
    )
    predicted: Array = model.fit(paths_and_counts(train), y).predict(paths_and_counts(test))
    return predicted


def _both(train: Operations, y: Array, test: Operations) -> Array:
    ways = _gaussian(_matern, way_statistics, train, y, test)
    return 0.5 * (ways + _gaussian(_matern, ways_and_edges, train, y, test))


CANDIDATES: dict[str, Fit] = {
    "Gaussian process (Matérn) on ways": partial(_gaussian, _matern, way_statistics),
    "Gaussian process (RBF) on ways": partial(_gaussian, _smooth, way_statistics),
    "mean of two, on ways and on ways with edges": _both,
}


def row() -> Figures:
    """Means over `DRAWS` draws; accuracies 0 … 1.

    Raises:
        DatasetError: If the tables are not in the data folder.
    """
    begin = time.perf_counter()
    cells, y = read_cells(), read_accuracies()
    draws = [_draw(cells.operations, cells.classes, y, seed) for seed in range(DRAWS)]
    own = [draw["own"] for draw in draws]
    mean, names = mean_of(own), [draw["model"] for draw in draws]
    shown = cells.representatives
    ceiling = figures(read_accuracies("c100_val_200_naslib")[shown], y[shown])
    kinds = ("trees", "params", "macs", "all")
    others = {kind: mean_of([draw[kind] for draw in draws]) for kind in kinds}
    return {
        "model": max(set(names), key=names.count),
        "n_train": TRAIN,
        "n_test": len(shown) - TRAIN,
        **mean,
        "tau_ceiling": ceiling["tau"],
        "mae_floor": ceiling["mae"],
        "baseline": mean_of([draw["median"] for draw in draws]),
        "trees_on_path_features": others["trees"],
        "params": others["params"],
        "macs": others["macs"],
        "all_cells_of_other_classes": others["all"],
        "seed": None,
        "target": {"tau": TAU},
        "reached": mean["tau"] >= TAU,
        "repeated": intervals(own),
        "gain_over_trees": interval([d["own"]["tau"] - d["trees"]["tau"] for d in draws]),
        "tried": {name: float(np.mean([d["tried"][name] for d in draws])) for name in CANDIDATES},
        "seconds": time.perf_counter() - begin,
    }


def _draw(operations: Operations, classes: NDArray[np.int64], y: Array, seed: int) -> Figures:
    train, test = isomorphism_safe(classes, TRAIN, np.random.default_rng(seed))
    tried = {name: _score(fit, operations[train], y[train]) for name, fit in CANDIDATES.items()}
    best = max(tried, key=lambda name: tried[name])
    cells, rest = read_cells(), all_cells(classes, train)
    predicted = accuracies(CANDIDATES[best], operations[train], y[train], operations)
    trees = accuracies(_trees, operations[train], y[train], operations[test])
    costs = {"params": cells.params, "macs": cells.macs}
    return {
        "model": best,
        "tried": tried,
        "own": figures(predicted[test], y[test]),
        "all": figures(predicted[rest], y[rest]),
        "median": figures(np.full(len(test), np.median(y[train])), y[test]),
        "trees": figures(trees, y[test]),
        **{name: figures(_line(cost, y, train, test), y[test]) for name, cost in costs.items()},
    }


def accuracies(fit: Fit, train: Operations, y: Array, test: Operations) -> Array:
    """Predicted accuracies of a model that is fitted on normal scores of the ranks.

    Accuracies crowd at the top and have a long tail below, which no process of one length
    describes; their ranks do not. A score is brought back by the training cells around it.
    """
    scores = norm.ppf((rankdata(y) - 0.5) / len(y))
    knots, first = np.unique(scores, return_index=True)
    return np.interp(fit(train, scores, test), *_extended(knots, y[first]))


def _extended(knots: Array, values: Array) -> tuple[Array, Array]:
    """A curve that goes on at both ends as it went through its last values, one deviation far.

    Were it flat there, cells that are predicted beyond the best training cell would all be equal.
    """
    tail = min(TAIL, len(knots) - 1)
    below = (values[tail] - values[0]) / (knots[tail] - knots[0])
    above = (values[-1] - values[-1 - tail]) / (knots[-1] - knots[-1 - tail])
    ends = max(values[0] - below, 0.0), min(values[-1] + above, 1.0)
    return np.r_[knots[0] - 1, knots, knots[-1] + 1], np.r_[ends[0], values, ends[1]]


def _score(fit: Fit, operations: Operations, y: Array) -> float:
    predicted = np.empty(len(y))
    for train, held in folds(len(y)):
        predicted[held] = accuracies(fit, operations[train], y[train], operations[held])
    return figures(predicted, y)["tau"]


def _line(cost: Array, y: Array, train: NDArray[np.int64], test: NDArray[np.int64]) -> Array:
    """A line through the logarithm of one cost."""
    slope, constant = np.polyfit(np.log(cost[train]), y[train], 1)
    predicted: Array = slope * np.log(cost[test]) + constant
    return predicted
