"""Accuracy on our own table of trained networks, held out by architecture, beside its noise."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emnas_gym.models.recurrent import RecurrentEnsemble
from emnas_gym.space import load_space
from emnas_gym.surrogate_file import read_surrogate, shipped_folder
from emnas_gym.tasks import DIGITS
from predictors.accuracy_fit import layers_of, predict
from predictors.estimators.recurrent import RecurrentRegressor
from predictors.fit_digits import SPACE, committed, labels, split
from predictors.fitted import Figures
from predictors.held_out import held_out, over_repeats
from predictors.metrics import noise_floor, ranks
from predictors.splits import folds
from predictors.store import Tokens
from predictors.tables import Table

Array = NDArray[np.float64]
SURROGATE = f"{SPACE}_{DIGITS.name}_accuracy"
SEEDS = 5
FOLDS = 5
TAU_SHARE, MAE_TIMES = 0.93, 1.3  # of the agreement of trainings, what is to be reached
SMALL = RecurrentRegressor(members=1, epochs=20, batch_size=96)  # seconds instead of minutes


def row(table: Table | None = None) -> Figures:
    """Figures of the shipped surrogate, or of a new fit where it was fitted on another table.

    Args:
        table: The table; the committed one if None.

    Raises:
        StoreError: If the committed table is damaged.
        SurrogateFileError: If the shipped surrogate is.
    """
    start = time.perf_counter()
    table = table or committed()
    networks, accuracy = labels(table)
    train, test = split(load_space(SPACE), networks)
    layers, lengths = layers_of(load_space(SPACE), DIGITS, networks)
    shipped = read_surrogate(shipped_folder() / f"{SURROGATE}.json")
    fits = shipped.about["held_out"]["n_train"] == len(train)
    model = shipped.model if fits else _fit(layers[train], accuracy[train])
    found = held_out(predict(model, (layers[test], lengths[test])), accuracy[test])
    middle = np.full(len(test), np.median(accuracy[train]))
    ceiling, bounds = noise(list(table.accuracies().values()))
    return {
        "model": f"{model.kind}, {'shipped' if fits else 'fitted on this table'}",
        "n_train": len(train),
        "n_test": len(test),
        **found,
        **ceiling,
        "labels": _counts(table, [networks[i] for i in test]),
        "baseline": held_out(middle, accuracy[test]),
        "seed": None,
        "target": bounds,
        "reached": found["tau"] >= bounds["tau"] and found["mae"] <= bounds["mae"],
        "repeated": _repeated(layers[train], accuracy[train]),
        "tried": shipped.about["chosen_by_cross_validation"],
        "seconds": time.perf_counter() - start,
    }


def noise(trainings: Sequence[Sequence[float]]) -> tuple[Figures, Figures]:
    """How well trainings of the same networks agree, and the bounds that follow.

    Args:
        trainings: For each network its accuracies, one a seed; those of fewer than five do not
            count.

    Returns:
        τ between one seed and the mean of the other four (mean over the five), the MAE between
        two seeds (mean over pairs) and the number of networks; and what is to be reached.
    """
    known = np.array([values[:SEEDS] for values in trainings if len(values) >= SEEDS])
    others = (known.sum(axis=1, keepdims=True) - known) / (SEEDS - 1)
    found = [ranks(known[:, i], others[:, i])["tau"] for i in range(SEEDS)]
    tau = float(np.mean([value for value in found if value is not None]))
    mae = noise_floor(known.tolist())["mae"]
    assert mae is not None
    ceiling = {"tau_ceiling": tau, "mae_floor": mae, "n_ceiling": len(known)}
    return ceiling, {"tau": TAU_SHARE * tau, "mae": MAE_TIMES * mae}


def _fit(layers: Array, accuracy: Array) -> RecurrentEnsemble:
    return RecurrentRegressor().fit(layers, accuracy).ensemble_


def _counts(table: Table, networks: Sequence[Tokens]) -> Figures:
    """Of the held-out networks, how many trainings each label is the mean of."""
    known = table.accuracies()
    counts = np.array([len(known[tokens]) for tokens in networks])
    return {"of_one_training": int((counts == 1).sum()), "mean_of_several": int((counts > 1).sum())}


def _repeated(layers: Array, accuracy: Array) -> Figures:
    repeats = [
        (SMALL.fit(layers[train], accuracy[train]).predict(layers[held]), accuracy[held])
        for train, held in folds(len(accuracy), FOLDS)
    ]
    how = f"{FOLDS} folds of the training rows; one member and 20 epochs, so worse than the model"
    return over_repeats(repeats, how)
