"""A tuned stack: several estimators, weighted by how well they predict rows held out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import nnls
from sklearn.base import clone

from emnas_gym.models.base import Array
from emnas_gym.models.mixture import Mixture
from predictors.estimators.base import Estimator
from predictors.estimators.composite import CompositeEstimator
from predictors.estimators.elastic_net import ElasticNetRegressor
from predictors.estimators.gaussian_process import GaussianRegressor
from predictors.estimators.selection import take
from predictors.estimators.trees import TreesRegressor
from predictors.splits import folds as split

Parts = Sequence[tuple[str, Estimator]]
PARTS: Parts = (
    ("", ElasticNetRegressor()),
    ("", TreesRegressor(trees=150)),
    ("", GaussianRegressor()),
)
LEAST = 0.01  # a part that weighs less is left out


class StackRegressor(CompositeEstimator):
    """Non-negative weights of 1 in all on parts (Breiman 1996, "Stacked regressions").

    The weights minimise the squared error of predictions out of fold; then every part that weighs
    something is fitted on all rows. The standard deviation is that of the mixture.

    Args:
        parts: Pairs of an encoding and an estimator. The encoding names what the estimator is
            given out of a table of encodings; it is not looked at where the networks are given in
            one encoding. None is an elastic net, trees and a Gaussian process.
        folds: Folds of the cross-validation.
        seed: Decides the folds.
    """

    def __init__(self, parts: Parts | None = None, folds: int = 5, seed: int = 0) -> None:
        self.parts = parts
        self.folds = folds
        self.seed = seed

    def _fitted(self, x: Any, y: Array) -> Mixture:  # noqa: ANN401
        if len(y) < self.folds:
            raise ValueError(f"n_samples={len(y)} are too few for {self.folds} folds")
        parts = list(PARTS if self.parts is None else self.parts)
        weights = mixing_weights(self._out_of_fold(parts, x, y), y)
        weighs = weights >= LEAST
        kept = [part for part, weight in zip(parts, weights, strict=True) if weight >= LEAST]
        models = tuple(clone(part).fit(input_of(x, name), y).model_ for name, part in kept)
        names = tuple(name for name, _ in kept) if isinstance(x, Mapping) else ()
        return Mixture(models, weights[weighs] / weights[weighs].sum(), names)

    def _out_of_fold(self, parts: Parts, x: Any, y: Array) -> Array:  # noqa: ANN401
        """Predictions of every part for rows that it has not seen, shape (N, parts)."""
        held_out = np.zeros((len(y), len(parts)))
        for train, held in split(len(y), self.folds, self.seed):
            for i, (name, part) in enumerate(parts):
                own = input_of(x, name)
                fitted = clone(part).fit(take(own, train), y[train])
                held_out[held, i] = fitted.predict(take(own, held))
        return held_out


def input_of(x: Any, name: str) -> Any:  # noqa: ANN401
    """What a part is given."""
    return x[name] if isinstance(x, Mapping) else x


def mixing_weights(predicted: Array, y: Array) -> Array:
    """Weights from 0 on, 1 in all, of least squared error.

    Args:
        predicted: (N, parts).
        y: (N,).

    Returns:
        Shape (parts,).
    """
    middle, spread = y.mean(), y.std() or 1.0
    heavy = 1e3 * np.sqrt(len(y))  # one more row that asks for a sum of 1
    rows = np.vstack([(predicted - middle) / spread, np.full(predicted.shape[1], heavy)])
    found: Any = nnls(rows, np.append((y - middle) / spread, heavy))
    weights: Array = found[0]
    weights /= weights.sum()
    return weights
