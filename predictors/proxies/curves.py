"""Learning curves continued by what other curves of the same recipe did (Baker et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import NuSVR

from emnas_gym.errors import EmNASError
from predictors.choice import FitPredict, choose, out_of_fold
from predictors.proxies.curve_features import curve_features

Array = NDArray[np.float64]
LEAST = 20  # curves below which nothing is learned
NEAR = 200  # residuals of so many curves with like predictions say how far off one may be
PARTS = 3  # of the cross-validation
MODELS: dict[str, Callable[[], Any]] = {
    "ridge": lambda: make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 3, 11))),
    "nu-svr": lambda: make_pipeline(StandardScaler(), NuSVR(C=0.3, nu=0.5)),
    "trees": lambda: HistGradientBoostingRegressor(
        max_iter=150, learning_rate=0.06, max_leaf_nodes=10, min_samples_leaf=20, random_state=0
    ),
}


@dataclass(frozen=True)
class _AtEpoch:
    """A model for curves of one length, and how far off it was on curves it had not seen."""

    model: Any
    predicted: Array  # (N,) out of fold, ascending
    residuals: Array  # (N,) final − predicted, in the same order

    def near(self, value: float) -> Array:
        """Residuals of the curves whose predictions lie nearest to a value."""
        count = min(NEAR, len(self.predicted))
        middle = int(np.searchsorted(self.predicted, value))
        first = int(np.clip(middle - count // 2, 0, len(self.predicted) - count))
        return self.residuals[first : first + count]


class CurveExtrapolator:
    """Predicts the accuracy after the last epoch from that after the first ones.

    For each number of epochs that it is asked about, a model is fitted on the values, first and
    second differences of known curves and, if given, on descriptions of what was trained. Ridge
    regression, ν-SVR (Baker's) and boosted trees are compared once, by cross-validation. How far a
    prediction may be off is read from cross-validated residuals of curves with like predictions:
    no shape of the error is assumed.

    Args:
        curves: (N, E) whole curves.
        described: (N, F) of architectures and recipes (`curve_features.describe`); None for none.
        choose_at: Number of epochs at which the models are compared.
        model: Name of the model to take instead of comparing.

    Attributes:
        chosen: Name of the model.
        tried: Model → cross-validated mean squared error at ``choose_at`` epochs.

    Raises:
        EmNASError: If there are fewer than 20 curves, or they do not belong together.
    """

    def __init__(
        self,
        curves: Array,
        described: Array | None = None,
        choose_at: int = 4,
        model: str | None = None,
    ) -> None:
        if curves.ndim != 2 or len(curves) < LEAST or not np.isfinite(curves).all():
            raise EmNASError(
                f"curves of shape {curves.shape} teach nothing: {LEAST} or more are needed, finite "
                "and of one length"
            )
        if described is not None and len(described) != len(curves):
            raise EmNASError(f"{len(described)} descriptions do not belong to {len(curves)} curves")
        self._curves, self._described = curves, described
        self._fitted: dict[int, _AtEpoch] = {}
        at = min(choose_at, self.epochs - 1)
        self.chosen, self.tried = (model, {}) if model else self._choose(at)

    @property
    def epochs(self) -> int:
        """Epochs of a whole curve."""
        return int(self._curves.shape[1])

    def predict(self, curves: Array, described: Array | None = None) -> tuple[Array, Array]:
        """Accuracies after the last epoch and their standard deviations, each of shape (N,).

        Args:
            curves: (N, e) beginnings of curves, all of e epochs.
            described: (N, F) as in the fit.

        Raises:
            EmNASError: If e is not between 1 and the epochs of whole curves less one, or the
                descriptions are not those of the fit.
        """
        fitted = self._at(curves.shape[1])
        mean = np.clip(fitted.model.predict(self._matrix(curves, described)), 0.0, 1.0)
        spread = [float(np.sqrt((fitted.near(value) ** 2).mean())) for value in mean]
        return mean, np.array(spread)

    def at_most(self, curves: Array, described: Array | None, bound: float) -> Array:
        """Probabilities that accuracies after the last epoch are at most a bound, shape (N,).

        Of n residuals, k of which stay below, k / (n + 1) is said: never quite certain.
        """
        mean, _ = self.predict(curves, described)
        return self.below(curves.shape[1], mean, bound)

    def below(self, epochs: int, predicted: Array, bound: float) -> Array:
        """The same for what was predicted from so many epochs."""
        near = [self._at(epochs).near(value) for value in predicted]
        pairs = zip(predicted, near, strict=True)
        return np.array([(value + r <= bound + 1e-9).sum() / (len(r) + 1) for value, r in pairs])

    def _at(self, epochs: int) -> _AtEpoch:
        if not 1 <= epochs < self.epochs:
            raise EmNASError(f"a curve of {epochs} epochs: give 1 to {self.epochs - 1}")
        if epochs not in self._fitted:
            self._fitted[epochs] = self._fit(epochs)
        return self._fitted[epochs]

    def _fit(self, epochs: int) -> _AtEpoch:
        x, y = self._matrix(self._curves[:, :epochs], self._described), self._curves[:, -1]
        predicted = out_of_fold(_candidate(self.chosen, x, y), len(y), PARTS)
        predicted = np.clip(predicted, 0.0, 1.0)
        order = np.argsort(predicted, kind="stable")
        model = MODELS[self.chosen]().fit(x, y)
        return _AtEpoch(model, predicted[order], (y - predicted)[order])

    def _choose(self, epochs: int) -> tuple[str, dict[str, float]]:
        x, y = self._matrix(self._curves[:, :epochs], self._described), self._curves[:, -1]
        candidates = {name: _candidate(name, x, y) for name in MODELS}
        return choose(candidates, y, lambda p, m: float(((p - m) ** 2).mean()), PARTS)

    def _matrix(self, curves: Array, described: Array | None) -> Array:
        known = self._described
        if (described is None) != (known is None):
            raise EmNASError("architectures are described either in the fit and here, or in none")
        if described is None or known is None:
            return curve_features(curves)
        if described.shape != (len(curves), known.shape[1]):
            asked = (len(curves), known.shape[1])
            raise EmNASError(f"descriptions of shape {described.shape}, not {asked}")
        return np.hstack([curve_features(curves), described])


def _candidate(name: str, x: Array, y: Array) -> FitPredict:
    def fit_predict(train: NDArray[np.int64], held: NDArray[np.int64]) -> Array:
        return np.asarray(MODELS[name]().fit(x[train], y[train]).predict(x[held]))

    return fit_predict


def r_squared(predicted: Array, measured: Array) -> float:
    """Share of the variance that is explained; below 0 where the mean does better."""
    return float(1 - ((predicted - measured) ** 2).mean() / measured.var())
