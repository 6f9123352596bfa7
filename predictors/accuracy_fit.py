"""Fits an accuracy, or whether a network runs at all, from features; sizes are cross-validated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

from emnas_gym.architecture import Architecture
from emnas_gym.features import features
from emnas_gym.grammar import Grammar
from emnas_gym.surrogate_models import Ensemble
from emnas_gym.tasks import Task
from predictors.choice import FitPredict, choose
from predictors.estimators import EnsembleRegressor
from predictors.splits import Indices
from predictors.store import Tokens

Array = NDArray[np.float64]
Options = Mapping[str, Mapping[str, Any]]
OPTIONS: Options = {
    "linear": {"hidden": (), "dropout": 0.2, "weight_decay": 0.3},
    "32": {"hidden": (32,), "dropout": 0.3, "weight_decay": 0.5},
    "64-32": {"hidden": (64, 32), "dropout": 0.3, "weight_decay": 0.5},
    "64-64": {"hidden": (64, 64), "dropout": 0.2, "weight_decay": 0.5},
}


def disorder(predicted: Array, measured: Array) -> float:
    """One minus Kendall's τ: what a search suffers from."""
    if np.ptp(predicted) == 0:
        return 1.0
    return 1.0 - float(kendalltau(predicted, measured).statistic)


def log_loss(predicted: Array, measured: Array) -> float:
    """Mean negative log likelihood of what happened."""
    sure = np.clip(np.where(measured > 0, predicted, 1 - predicted), 1e-3, 1.0)
    return float(-np.log(sure).mean())


def design(space: Grammar, task: Task, networks: Sequence[Tokens]) -> Array:
    """Features of networks, shape (N, F)."""
    return features([Architecture(space, tokens) for tokens in networks], task)


def fit_accuracy(
    x: Array, y: Array, *, yes_or_no: bool = False, options: Options = OPTIONS
) -> tuple[Ensemble, dict[str, float]]:
    """Fits an ensemble on training rows.

    Args:
        x: (N, F) features.
        y: (N,) accuracies, or 0 and 1.
        yes_or_no: Whether the target is 0 or 1; the likelihood then decides, else the order.
        options: Sizes to choose from.

    Returns:
        The ensemble, and the cross-validated score of every option; smaller is better.
    """
    candidates = {name: _candidate(x, y, option) for name, option in options.items()}
    best, scores = choose(candidates, y, log_loss if yes_or_no else disorder)
    return EnsembleRegressor(**options[best]).fit(x, y).ensemble_, scores


def _candidate(x: Array, y: Array, option: Mapping[str, Any]) -> FitPredict:
    def fit_predict(train: Indices, held: Indices) -> Array:
        return EnsembleRegressor(**option).fit(x[train], y[train]).predict(x[held])

    return fit_predict
