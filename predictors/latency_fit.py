"""Fits a latency as a sum over layers; the details that it tells apart are cross-validated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emnas_gym.grammar import Grammar
from emnas_gym.layer_costs import AdditiveCosts, Terms, network_terms
from emnas_gym.tasks import Task
from predictors.additive import AdditiveRegressor
from predictors.choice import FitPredict, choose
from predictors.splits import Indices
from predictors.store import Tokens

Array = NDArray[np.float64]
Details = tuple[str, ...]


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
    *,
    by_share: bool,
) -> tuple[AdditiveCosts, dict[str, float]]:
    """Fits additive costs on training rows.

    Args:
        space: The search space.
        task: What the networks are for.
        networks: Tokens of the training networks.
        measured_ms: Their latencies, shape (N,).
        options: Sets of details to choose from.
        by_share: Whether the relative error counts; the absolute one otherwise.

    Returns:
        The costs, and the cross-validated error of every option.
    """
    terms = {d: [network_terms(space, task, t, d) for t in networks] for d in options}
    candidates = {_name(d): _candidate(terms[d], measured_ms, d, by_share) for d in options}
    best, scores = choose(candidates, measured_ms, relative if by_share else absolute, parts=10)
    details = next(d for d in options if _name(d) == best)
    return AdditiveRegressor(details, by_share).fit(terms[details], measured_ms).model_, scores


def predict_latency(
    model: AdditiveCosts, space: Grammar, task: Task, networks: Sequence[Tokens]
) -> Array:
    """Predicted latencies, shape (N,)."""
    regressor = AdditiveRegressor(model.details)
    regressor.model_ = model
    return regressor.predict([network_terms(space, task, t, model.details) for t in networks])


def _name(details: Details) -> str:
    return "+".join(details) or "plain"


def _candidate(terms: list[Terms], y: Array, details: Details, by_share: bool) -> FitPredict:
    def fit_predict(train: Indices, held: Indices) -> Array:
        regressor = AdditiveRegressor(details, by_share).fit([terms[i] for i in train], y[train])
        return regressor.predict([terms[i] for i in held])

    return fit_predict
