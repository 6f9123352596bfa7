"""Fits an accuracy, or whether a network runs at all, from features; sizes are cross-validated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau
from sklearn.base import BaseEstimator, clone

from emnas_gym.features import layer_table, network_features
from emnas_gym.surrogate_file import Model, Predictor
from emnas_gym.tasks import Task
from emnas_gym.token_space import TokenSpace
from predictors.choice import FitPredict, choose
from predictors.estimators.ensemble import EnsembleRegressor
from predictors.estimators.recurrent import RecurrentRegressor
from predictors.splits import Indices
from predictors.store import Tokens

Array = NDArray[np.float64]
Layers = tuple[Array, NDArray[np.int64]]  # features of layers (N, L, F), lengths (N,)
Options = Mapping[str, BaseEstimator]
SEARCHED: Options = {  # for thousands of rows
    "recurrent": RecurrentRegressor(),
    "features": EnsembleRegressor((64, 64), dropout=0.1, weight_decay=0.5),
}
FEW: Options = {  # for hundreds of rows
    "recurrent": RecurrentRegressor(dropout=0.3, weight_decay=0.5, epochs=25),
    "features": EnsembleRegressor((16,), dropout=0.4, weight_decay=1.0),
    "linear": EnsembleRegressor((), dropout=0.3, weight_decay=1.0),
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


def layers_of(space: TokenSpace, task: Task, networks: Sequence[Tokens]) -> Layers:
    """Features of the layers of networks."""
    table = layer_table(space, task)
    return table.gather([table.walk(space.canonical_tokens(tokens)) for tokens in networks])


def predict(model: Model, layers: Layers) -> Array:
    """Predictions of a fitted model that reads layers or features, shape (N,)."""
    return model.predict(layers[0] if model.reads == "layers" else network_features(*layers))[0]


def fit_accuracy(
    layers: Layers, y: Array, options: Options, *, yes_or_no: bool = False, parts: int = 5
) -> tuple[Predictor, dict[str, float]]:
    """Fits an ensemble on training rows.

    Args:
        layers: Features of the layers of the training networks.
        y: (N,) accuracies, or 0 and 1.
        options: Estimators to choose from.
        yes_or_no: Whether the target is 0 or 1; the likelihood then decides, else the order.
        parts: Folds of the cross-validation.

    Returns:
        The ensemble, and the cross-validated score of every option; smaller is better.
    """
    inputs = {name: _inputs(option, layers) for name, option in options.items()}
    candidates = {name: _candidate(option, inputs[name], y) for name, option in options.items()}
    best, scores = choose(candidates, y, log_loss if yes_or_no else disorder, parts)
    model: Predictor = clone(options[best]).fit(inputs[best], y).ensemble_
    return model, scores


def _inputs(option: BaseEstimator, layers: Layers) -> Array:
    return layers[0] if isinstance(option, RecurrentRegressor) else network_features(*layers)


def _candidate(option: BaseEstimator, x: Array, y: Array) -> FitPredict:
    """Fits one member instead of all that are shipped: enough to choose by, and faster."""
    small = clone(option).set_params(members=1)

    def fit_predict(train: Indices, held: Indices) -> Array:
        predicted: Array = clone(small).fit(x[train], y[train]).predict(x[held])
        return predicted

    return fit_predict
