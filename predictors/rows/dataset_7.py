"""Latency on a Sipeed Maix Bit (K210), 49-token space: the 364 measured rows of dataset_7, 10-fold.

One row in seven carries the latency of the network before it (`repeated_readings`). Such rows are
not learnt from, as no choice of a model could make sense of them; they are predicted and counted
like all others, and bound what can be reached.
"""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray

from emnas_gym.space import load_space
from emnas_gym.tasks import GRASP
from predictors.emnas_tables import read_table, repeated_readings
from predictors.fit_mobile import DETAILS, SEED_LATENCY_MAE_MS, SPACE
from predictors.fitted import Figures
from predictors.latency_figures import Measured, corrected_by_trees, held_out, interval
from predictors.latency_fit import absolute, terms_of
from predictors.metrics import ranks
from predictors.rows.seed_split import reached
from predictors.splits import folds

Array = NDArray[np.float64]
TARGET = {"mae": 40.0, "within_20pct": 0.6}
PARTS = 10
INNER = 5  # folds by which terms are chosen inside each


def row() -> Figures:
    """Every measured row predicted by a sum that was chosen and fitted on nine tenths of the rest.

    Raises:
        DatasetError: If the table is missing.
    """
    start = time.perf_counter()
    table, own = _table()
    predicted, middle, chosen = _out_of_fold(table, own)
    y = table.latency_ms
    found = held_out(predicted, y)
    errors = np.abs(predicted - y)
    corrected = np.where(own, y, predicted)
    tried = table.part(np.flatnonzero(own)).fit()[1]
    tried["sum+kpu, corrected by trees"] = corrected_by_trees(
        table.part(np.flatnonzero(own)), ("kpu",)
    )
    tried["median"] = absolute(middle[own], y[own])
    return {
        "model": f"sum of non-negative costs of work ({', '.join(sorted(chosen))})",
        "n_train": int(own.sum()) * (PARTS - 1) // PARTS,
        "n_test": len(y),
        **found,
        "tau_ceiling": ranks(corrected, y)["tau"],
        "mae_floor": float(errors[~own].sum() / len(y)),
        "read_anew": held_out(predicted[own], y[own]) | {"n_test": int(own.sum())},
        "baseline": held_out(middle, y),
        "seed": {"mae": SEED_LATENCY_MAE_MS},
        "target": TARGET,
        "reached": reached(found, TARGET),
        "repeated": _by_fold(predicted, y),
        "tried": tried,
        "seconds": time.perf_counter() - start,
    }


def _table() -> tuple[Measured, NDArray[np.bool_]]:
    """The measured networks, and which of them have a reading of their own."""
    rows = read_table("dataset_7")
    repeated = repeated_readings(rows)
    ran = [row for row in rows if row.runs]
    terms = terms_of(load_space(SPACE), GRASP, [row.tokens for row in ran], DETAILS)
    latency_ms = np.array([row.sipeed_latency_ms for row in ran], dtype=np.float64)
    return Measured(terms, latency_ms), np.array([row.model_id not in repeated for row in ran])


def _out_of_fold(table: Measured, own: NDArray[np.bool_]) -> tuple[Array, Array, set[str]]:
    """Predictions, the medians of what they were learnt from, and the terms that were chosen."""
    predicted, middle = np.zeros(len(own)), np.zeros(len(own))
    chosen: set[str] = set()
    for train, held in folds(len(own), PARTS):
        learnt = table.part(train[own[train]])
        model, _ = learnt.fit(INNER)
        predicted[held] = table.part(held).predict(model)
        middle[held] = np.median(learnt.latency_ms)
        chosen.add("+".join(model.details))
    return predicted, middle, chosen


def _by_fold(predicted: Array, measured: Array) -> Figures:
    figures = [held_out(predicted[f], measured[f]) for _, f in folds(len(measured), PARTS)]
    names = ("mae", "tau", "within_20pct")
    how = f"the {PARTS} folds, choices by {INNER}-fold inside each"
    return {name: interval([f[name] for f in figures]) for name in names} | {"how": how}
