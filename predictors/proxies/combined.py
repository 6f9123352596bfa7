"""Zero-cost scores together: a small model on their ranks, chosen among itself and each alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge

from emnas_gym.errors import EmNASError
from predictors.choice import FitPredict, choose
from predictors.metrics import ranks

Array = NDArray[np.float64]
LEAST = 20  # networks below which nothing can be cross-validated
MODELS: dict[str, Callable[[], Any]] = {
    "ridge": lambda: Ridge(alpha=1.0),
    "trees": lambda: HistGradientBoostingRegressor(
        max_iter=60, learning_rate=0.1, max_leaf_nodes=6, min_samples_leaf=8, random_state=0
    ),
}


class RankCombination:
    """Ranks networks by several scores at once.

    Scores become ranks among the networks of the fit, so that no unit or outlier matters, and so
    do accuracies. Ridge regression, boosted trees, their mean and every single score are compared
    by cross-validated τ; the best is kept. Where no combination is better, a single score stays.

    Attributes:
        chosen: What was chosen; the name of a model or of a score.
        tried: Name → cross-validated τ.
    """

    chosen: str
    tried: dict[str, float]

    def fit(self, scores: Array, names: tuple[str, ...], accuracy: Array) -> Self:
        """Fits and chooses.

        Args:
            scores: (networks, scores); a score may mean the better the smaller.
            names: Of the scores.
            accuracy: (networks,).

        Raises:
            EmNASError: If there are fewer than 20 networks, or a score is not finite.
        """
        if len(scores) < LEAST or not np.isfinite(scores).all():
            raise EmNASError(
                f"{len(scores)} networks with finite scores are not enough to combine them; "
                f"give {LEAST} or more"
            )
        self._columns = np.sort(scores, axis=0)
        self._x, self._y = self._ranked(scores), _ranks_of(np.sort(accuracy), accuracy)
        self._names = names
        every = (*MODELS, "mean of both", *names)
        candidates: dict[str, FitPredict] = {name: self._candidate(name) for name in every}
        self.chosen, losses = choose(candidates, accuracy, _loss)
        self.tried = {name: -loss for name, loss in losses.items()}
        return self

    def predict(self, scores: Array) -> Array:
        """Scores of shape (N,), larger for what should be better; only their order means anything.

        Args:
            scores: (N, scores) in the order of the fit.
        """
        rows = np.arange(len(self._x))
        return self._fitted(self.chosen, rows, self._ranked(scores))

    def _ranked(self, scores: Array) -> Array:
        columns = zip(self._columns.T, scores.T, strict=True)
        return np.stack([_ranks_of(known, column) for known, column in columns], axis=1)

    def _candidate(self, name: str) -> FitPredict:
        return lambda train, held: self._fitted(name, train, self._x[held])

    def _fitted(self, name: str, rows: NDArray[np.int64], x: Array) -> Array:
        """Fits a candidate on some rows and predicts others."""
        if name in self._names:
            column = self._names.index(name)
            known = np.corrcoef(self._x[rows, column], self._y[rows])[0, 1]
            return np.asarray(x[:, column] * (-1.0 if known < 0 else 1.0))
        chosen = [name] if name in MODELS else list(MODELS)
        fitted = [MODELS[model]().fit(self._x[rows], self._y[rows]) for model in chosen]
        return np.asarray(np.mean([model.predict(x) for model in fitted], axis=0))


def _ranks_of(known: Array, values: Array) -> Array:
    """Share of the known values, sorted, that lie below each value; ties count half."""
    below, upto = np.searchsorted(known, values, "left"), np.searchsorted(known, values, "right")
    return np.asarray((below + upto) / (2 * len(known)))


def _loss(predicted: Array, measured: Array) -> float:
    return -(ranks(predicted, measured)["tau"] or 0.0)
