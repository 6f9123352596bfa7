"""LENNA's network: one wide hidden layer of tanh units, fitted by L-BFGS."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor

from emnas_gym.models.base import Array, rounded
from emnas_gym.models.ensemble import Ensemble
from predictors.estimators.base import on_link
from predictors.estimators.matrix import MatrixEstimator, standard_scale


class MlpRegressor(MatrixEstimator):
    """Scikit-learn's `MLPRegressor` as LENNA set it, on standardised features and targets.

    Not the same as `EnsembleRegressor`, which has dropout, decoupled weight decay and AdamW: here
    all rows are one batch, and a quasi-Newton method goes to a minimum. The fitted form is the
    same, an `Ensemble`, with as many members as starts.

    Args:
        hidden: Widths of the hidden layers; LENNA noted (512,) as its best.
        alpha: Squared penalty on the weights; LENNA noted 5e-5.
        members: Fits from other initial weights, averaged.
        max_iter: Iterations of L-BFGS at most; stopping there is meant.
        link: Scale of the target, ``"identity"``, ``"logit"`` or ``"log"``.
        seed: Decides the initial weights.
    """

    def __init__(
        self,
        hidden: tuple[int, ...] = (512,),
        alpha: float = 5e-5,
        members: int = 1,
        max_iter: int = 200,
        link: str = "identity",
        seed: int = 0,
    ) -> None:
        self.hidden = hidden
        self.alpha = alpha
        self.members = members
        self.max_iter = max_iter
        self.link = link
        self.seed = seed

    def _fitted(self, x: Array, y: Array) -> Ensemble:
        target = on_link(self.link, y)
        centre, scale = standard_scale(x)
        standard = (x - centre) / scale
        middle, spread = target.mean(), target.std() or 1.0
        fits = [self._start(i, standard, (target - middle) / spread) for i in range(self.members)]
        self.n_iter_ = max(fit.n_iter_ for fit in fits)
        weights = [np.stack(layer) for layer in zip(*(fit.coefs_ for fit in fits), strict=True)]
        biases = [np.stack(b)[:, None] for b in zip(*(f.intercepts_ for f in fits), strict=True)]
        weights[-1], biases[-1] = weights[-1] * spread, biases[-1] * spread + middle
        return Ensemble(
            centre=rounded(centre),
            scale=rounded(scale),
            low=rounded(standard.min(axis=0)),
            high=rounded(standard.max(axis=0)),
            weights=tuple(rounded(weight) for weight in weights),
            biases=tuple(rounded(bias) for bias in biases),
            link=self.link,
        )

    def _start(self, member: int, x: Array, y: Array) -> MLPRegressor:
        network = MLPRegressor(
            hidden_layer_sizes=self.hidden,
            activation="tanh",
            solver="lbfgs",
            alpha=self.alpha,
            max_iter=self.max_iter,
            random_state=self.seed + member,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return network.fit(x, y)
