"""Fits a latency; whether as a sum, and of which terms, is cross-validated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from emnas_gym.grammar import Grammar
from emnas_gym.models.additive import AdditiveCosts, network_terms
from emnas_gym.models.kpu_terms import Terms
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
Options = Mapping[Details, Sequence[Terms]]
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
    return fit_terms(terms_of(space, task, networks, options), measured_ms)


def terms_of(
    space: Grammar, task: Task, networks: Sequence[Tokens], options: Sequence[Details]
) -> Options:
    """Terms of every network, for every set of details."""
    return {d: [network_terms(space, task, t, d) for t in networks] for d in options}


def fit_terms(
    terms: Options, measured_ms: Array, parts: int = 10
) -> tuple[AdditiveCosts, dict[str, float]]:
    """Fits a sum of terms on training rows, by the absolute error.

    Args:
        terms: Sets of details to choose from, and with each the terms of the training networks.
        measured_ms: Their latencies, shape (N,).
        parts: Folds of the cross-validation.

    Returns:
        The costs, and the cross-validated mean absolute error of every option.
    """
    candidates = {_name(d): _sum(x, measured_ms, d, False) for d, x in terms.items()}
    best, scores = choose(candidates, measured_ms, absolute, parts)
    details = next(d for d in terms if _name(d) == best)
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
    terms = terms_of(space, task, networks, options)
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
    terms = [network_terms(space, task, t, model.details) for t in networks]
    return predict_terms(model, terms)


def predict_terms(model: AdditiveCosts, terms: Sequence[Terms]) -> Array:
    """Predicted latencies of networks whose terms are known, shape (N,)."""
    regressor = AdditiveRegressor(model.details)
    regressor.model_ = model
    return regressor.predict(terms)


def _name(details: Details) -> str:
    return "+".join(["sum", *details])


def _sum(terms: Sequence[Terms], y: Array, details: Details, by_share: bool) -> FitPredict:
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
