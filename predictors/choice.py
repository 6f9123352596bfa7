"""Chooses a model by cross-validation on training rows; test rows are not seen here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from predictors.splits import Indices, folds

Array = NDArray[np.float64]
FitPredict = Callable[[Indices, Indices], Array]  # rows to fit on, rows to predict → predictions


def out_of_fold(fit_predict: FitPredict, count: int, parts: int = 5) -> Array:
    """Predicts every training row by a model that has not seen it, shape (count,).

    Args:
        fit_predict: Fits on some rows and predicts others.
        count: Number of training rows.
        parts: Folds.
    """
    predicted = np.zeros(count)
    for train, held in folds(count, parts):
        predicted[held] = fit_predict(train, held)
    return predicted


def choose(
    candidates: Mapping[str, FitPredict],
    measured: Array,
    score: Callable[[Array, Array], float],
    parts: int = 5,
) -> tuple[str, dict[str, float]]:
    """Chooses the candidate of least score.

    Args:
        candidates: Name → how it fits and predicts rows of the training part.
        measured: Targets of the training rows, shape (N,).
        score: From (predicted, measured) to a number; smaller is better.
        parts: Folds.

    Returns:
        Name of the best, and the scores of all.
    """
    scores = {
        name: float(score(out_of_fold(candidate, len(measured), parts), measured))
        for name, candidate in candidates.items()
    }
    return min(scores, key=lambda name: scores[name]), scores
