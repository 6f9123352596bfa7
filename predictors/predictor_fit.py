"""Fits a predictor of any field on networks that somebody measured: the best of a small table.

Every candidate is cross-validated on the same folds, which keep networks of equal behaviour
together. The best is fitted on all rows. Its score is the least of several, and so a little too
good; a judgement that must be exact needs rows that were put aside before.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning

from emnas_gym.architecture import Architecture
from emnas_gym.errors import DatasetError, UnknownName
from emnas_gym.grammar import Grammar
from emnas_gym.measurement import FIELDS
from emnas_gym.models.base import Array
from emnas_gym.models.inputs import encode
from emnas_gym.surrogate_file import Surrogate
from emnas_gym.tasks import Task
from predictors.estimators.additive import AdditiveRegressor
from predictors.estimators.base import Estimator
from predictors.estimators.count import CountRegressor
from predictors.estimators.elastic_net import ElasticNetRegressor
from predictors.estimators.ensemble import EnsembleRegressor
from predictors.estimators.gaussian_process import GaussianRegressor
from predictors.estimators.median import MedianRegressor
from predictors.estimators.recurrent import RecurrentRegressor
from predictors.estimators.selection import take
from predictors.estimators.trees import TreesRegressor
from predictors.fitted import Figures, surrogate
from predictors.metrics import agreement
from predictors.splits import Indices
from predictors.store import Tokens

LEAST_ROWS = 20
FOLDS = 5
BASELINE = "median"
COMMAND = "python -m predictors fit --csv"
Candidate = tuple[str, Estimator]  # encoding, estimator
OF_A_DEVICE = ("latency_ms", "energy_mj", "instructions", "npu_cycles")


def candidates(field: str, rows: int) -> dict[str, Candidate]:
    """What is tried for a field, cheap enough for a first answer within a minute or two.

    Args:
        field: One of `emnas_gym.measurement.FIELDS`.
        rows: Number of measured networks.
    """
    link = "logit" if field == "accuracy" else "log"
    tried: dict[str, Candidate] = {
        BASELINE: ("counts", MedianRegressor()),
        "params": ("counts", CountRegressor("params", link=link)),
        "macs": ("counts", CountRegressor("macs", link=link)),
        "elastic net": ("features", ElasticNetRegressor(mixes=(0.5, 1.0), link=link)),
        "trees": ("features", TreesRegressor(trees=200, link=link)),
        "gaussian process": ("features", GaussianRegressor(rows=600, link=link)),
    }
    if field == "accuracy":
        many = rows >= 1000
        tried["recurrent"] = ("layers", RecurrentRegressor(weight_decay=0.2 if many else 0.5))
        tried["ensemble"] = ("features", EnsembleRegressor((64, 64) if many else (16,)))
    else:
        tried["sum over layers"] = ("terms", AdditiveRegressor(relative=True))
        tried["sum over layers, sigmoids"] = (
            "terms+sigmoid",
            AdditiveRegressor(("sigmoid",), True),
        )
    return tried


def fit_predictor(
    space: Grammar,
    task: Task,
    device: str | None,
    field: str,
    tokens: Sequence[Tokens],
    y: Sequence[float] | Array,
    *,
    source: str = "measured by the user",
    command: str = COMMAND,
    tried: Mapping[str, Candidate] | None = None,
    max_macs: int | None = None,
) -> Surrogate:
    """Cross-validates a table of estimators and fits the best on all rows.

    Args:
        space: The search space.
        task: What the networks are for.
        device: Where they were measured; None for a field that does not depend on it.
        field: One of `emnas_gym.measurement.FIELDS`.
        tokens: Measured networks, at least 20 of different behaviour.
        y: Their values, in the unit of the field.
        source: Where the values come from, for readers of the file.
        command: What fits it, likewise.
        tried: Candidates by name; those of `candidates` if None.
        max_macs: Multiply-accumulates of the largest networks, where only smaller ones were drawn.

    Returns:
        A predictor to write with `emnas_gym.surrogate_file.write_surrogate`. Its lengths are those
        that were measured; ``about`` has the cross-validated figures of the best and of the
        median, and the error of all.

    Raises:
        DatasetError: If there are too few rows, or a value is impossible.
        InvalidArchitecture: If tokens break a rule of the space, or cannot be built.
        UnknownName: If there is no such field.
    """
    batch = [Architecture(space, tuple(row)) for row in tokens]
    values = _checked(field, device, batch, y)
    table = dict(candidates(field, len(batch)) if tried is None else tried)
    groups = _groups(batch)
    encoded = {name: encode(name, batch, task) for name in {e for e, _ in table.values()}}
    held_out = {
        name: _out_of_fold(estimator, encoded[encoding], values, groups)
        for name, (encoding, estimator) in table.items()
    }
    scores = {name: _error(field, found, values) for name, found in held_out.items()}
    best = min(scores, key=lambda name: scores[name])
    encoding, estimator = table[best]
    with _quiet():
        model = clone(estimator).fit(encoded[encoding], values).model_
    made = surrogate(
        field,
        space,
        task,
        model,
        what="csv",
        source=source,
        held_out=_figures(best, held_out, values, table),
        chosen_by=scores,
        device=device,
        note=f"Cross-validated in {FOLDS} folds; networks of equal behaviour stay together.",
        max_macs=max_macs,
    )
    measured = [len(architecture.tokens) for architecture in batch]
    lengths, about = (min(measured), max(measured)), {**made.about, "command": command}
    return replace(made, lengths=lengths, reads=encoding, about=about)


def _checked(
    field: str, device: str | None, batch: Sequence[Architecture], y: Sequence[float] | Array
) -> Array:
    """Values as an array, after a look at whether they can be what they are said to be."""
    if field not in FIELDS:
        raise UnknownName("field", field, FIELDS)
    if (field in OF_A_DEVICE) != (device is not None):
        raise DatasetError(f"{field} {'needs a' if device is None else 'depends on no'} device")
    values = np.asarray(y, dtype=np.float64)
    if values.shape != (len(batch),):
        raise DatasetError(f"{len(batch)} networks and values of shape {values.shape}")
    low, high = (0.0, 1.0) if field == "accuracy" else (np.nextafter(0, 1), np.inf)
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= low) & (values <= high)))
    if len(wrong):
        limits = "0 … 1" if field == "accuracy" else "above 0"
        raise DatasetError(f"row {wrong[0]}: {field} is {values[wrong[0]]:g}, and must be {limits}")
    distinct = len({architecture.canonical for architecture in batch})
    if distinct < LEAST_ROWS:
        raise DatasetError(
            f"{distinct} networks of different behaviour are too few to fit and to judge a "
            f"predictor; measure {LEAST_ROWS} or more"
        )
    return values


def _groups(batch: Sequence[Architecture]) -> Indices:
    """The fold of every network; equal behaviour, equal fold."""
    behaviours = sorted({architecture.canonical for architecture in batch})
    order = np.random.default_rng(0).permutation(len(behaviours))
    fold = {behaviours[k]: i % FOLDS for i, k in enumerate(order)}
    return np.array([fold[architecture.canonical] for architecture in batch])


def _out_of_fold(estimator: Estimator, x: object, y: Array, groups: Indices) -> Array:
    held_out = np.zeros(len(y))
    for fold in range(FOLDS):
        held = groups == fold
        with _quiet():
            fitted = clone(estimator).fit(take(x, ~held), y[~held])
        held_out[held] = fitted.predict(take(x, held))
    return held_out


def _quiet() -> warnings.catch_warnings[None]:
    """Lets a candidate that does not converge be judged by its error, without a word."""
    return warnings.catch_warnings(action="ignore", category=ConvergenceWarning)


def _error(field: str, predicted: Array, y: Array) -> float:
    """Mean absolute error; relative to the value for what is above 0 by orders of magnitude."""
    distance = np.abs(predicted - y)
    return float((distance if field == "accuracy" else distance / y).mean())


def _figures(
    best: str, held_out: Mapping[str, Array], y: Array, table: Mapping[str, Candidate]
) -> Figures:
    figures: Figures = {"model": best, "encoding": table[best][0], "rows": len(y)}
    figures |= _agreement(held_out[best], y)
    if BASELINE in table:
        figures["baseline"] = _agreement(held_out[BASELINE], y)
    return figures


def _agreement(predicted: Array, y: Array) -> Figures:
    close = np.abs(predicted - y) <= 0.1 * np.abs(y)
    return {**agreement(predicted, y), "within_10pct": float(close.mean())}
