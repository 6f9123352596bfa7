"""LENNA's linear predictor: an elastic net, its penalties chosen by cross-validation."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import ElasticNetCV

from emnas_gym.models.base import Array
from emnas_gym.models.linear import Linear
from predictors.estimators.base import on_link
from predictors.estimators.matrix import MatrixEstimator, standard_scale

MIXES = (0.1, 0.5, 0.9, 1.0)


class ElasticNetRegressor(MatrixEstimator):
    """Least squares with an absolute and a squared penalty on standardised features.

    LENNA searched both penalties on a grid; here a path of penalties is cross-validated within
    the training rows (Zou & Hastie 2005). The folds follow the order of the rows, so that another
    order may choose another penalty.

    Args:
        mixes: Shares of the absolute penalty to choose from.
        penalties: Number of penalties on the path.
        folds: Folds of the cross-validation.
        max_iter: Passes of coordinate descent at most.
        link: Scale of the target, ``"identity"``, ``"logit"`` or ``"log"``.
    """

    def __init__(
        self,
        mixes: tuple[float, ...] = MIXES,
        penalties: int = 30,
        folds: int = 5,
        max_iter: int = 5000,
        link: str = "identity",
    ) -> None:
        self.mixes = mixes
        self.penalties = penalties
        self.folds = folds
        self.max_iter = max_iter
        self.link = link

    def _fitted(self, x: Array, y: Array) -> Linear:
        target = on_link(self.link, y)
        centre, scale = standard_scale(x)
        search = ElasticNetCV(
            l1_ratio=list(self.mixes),
            alphas=self.penalties,
            cv=self.folds,
            max_iter=self.max_iter,
            tol=1e-3,
        )
        search.fit((x - centre) / scale, target)
        self.n_iter_ = int(search.n_iter_)
        weight = search.coef_ / scale
        bias = float(search.intercept_ - centre @ weight)
        deviation = float((target - x @ weight - bias).std())
        return Linear(x.min(axis=0), x.max(axis=0), np.asarray(weight), bias, deviation, self.link)
