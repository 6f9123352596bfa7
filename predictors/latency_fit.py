"""Fits a latency; whether as a sum over layers, and of which details, is cross-validated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from emnas_gym.grammar import Grammar
from emnas_gym.models.additive import AdditiveCosts, Terms, network_terms
from emnas_gym.surrogate_file import Model
from emnas_gym.tasks import Task
from predictors.accuracy_fit import layers_of, predict
from predictors.choice import FitPredict, choose
from predictors.estimators.additive import AdditiveRegressor
from predictors.estimators.recurrent import RecurrentRegressor
from predictors.splits import Indices
from predictors.store import Tokens

Array = NDArray[np.float64]
Details = tuple[str, ...]
RECURRENT = "recurrent"
READER = RecurrentRegressor(members=3, epochs=40, dropout=0.05, weight_decay=0.05, link="log")


def absolute(predicted: Array, measured: Array) -> float:
    """Mean absolute error."""
    return float(np.abs(predicted - measured).mean())


def relative(predicted: Array, measured: Array) -> float:
    """Mean absolute error as a share of what was measured."""
    return float(np.abs(predicted / measured - 1).mean())


def fit_latency(
    space: Grammar,
    task: Task,
    networks: Sequence[Tokens],
    measured_ms: Array,
    options: Sequence[Details],
) -> tuple[AdditiveCosts, dict[str, float]]:
    """Fits a sum over layers on training rows, by the absolute error.

    Args:
        space: The search space.
        task: What the networks are for.
        networks: Tokens of the training networks.
        measured_ms: Their latencies, shape (N,).
        options: Sets of details to choose from.

    Returns:
        The costs, and the cross-validated mean absolute error of every option.
    """
    terms = {d: [network_terms(space, task, t, d) for t in networks] for d in options}
    candidates = {_name(d): _sum(terms[d], measured_ms, d, False) for d in options}
    best, scores = choose(candidates, measured_ms, absolute, parts=10)
    details = next(d for d in options if _name(d) == best)
    return AdditiveRegressor(details).fit(terms[details], measured_ms).model_, scores


def fit_relative_latency(
    space: Grammar,
    task: Task,
    networks: Sequence[Tokens],
    measured_ms: Array,
    options: Sequence[Details],
) -> tuple[Model, dict[str, float]]:
    """Fits a sum over layers, or a recurrent ensemble, by the relative error.

    Args:
        space: The search space.
        task: What the networks are for.
        networks: Tokens of the training networks.
        measured_ms: Their latencies, shape (N,).
        options: Sets of details to choose from for the sum.

    Returns:
        The model, and the cross-validated mean relative error of every option.
    """
    terms = {d: [network_terms(space, task, t, d) for t in networks] for d in options}
    layers = layers_of(space, task, networks)[0]
    candidates = {_name(d): _sum(terms[d], measured_ms, d, True) for d in options}
    candidates[RECURRENT] = _read(layers, measured_ms)
    best, scores = choose(candidates, measured_ms, relative, parts=3)
    if best == RECURRENT:
        return clone(READER).fit(layers, measured_ms).ensemble_, scores
    details = next(d for d in options if _name(d) == best)
    return AdditiveRegressor(details, relative=True).fit(terms[details], measured_ms).model_, scores


def predict_latency(model: Model, space: Grammar, task: Task, networks: Sequence[Tokens]) -> Array:
    """Predicted latencies, shape (N,)."""
    if not isinstance(model, AdditiveCosts):
        return predict(model, layers_of(space, task, networks))
    regressor = AdditiveRegressor(model.details)
    regressor.model_ = model
    return regressor.predict([network_terms(space, task, t, model.details) for t in networks])


def _name(details: Details) -> str:
    return "+".join(["sum", *details])


def _sum(terms: list[Terms], y: Array, details: Details, by_share: bool) -> FitPredict:
    def fit_predict(train: Indices, held: Indices) -> Array:
        regressor = AdditiveRegressor(details, by_share).fit([terms[i] for i in train], y[train])
        return regressor.predict([terms[i] for i in held])

    return fit_predict


def _read(layers: Array, y: Array) -> FitPredict:
    small = clone(READER).set_params(members=1)

    def fit_predict(train: Indices, held: Indices) -> Array:
        predicted: Array = clone(small).fit(layers[train], y[train]).predict(layers[held])
        return predicted

    return fit_predict
