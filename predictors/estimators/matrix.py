"""Estimators on matrices: input checked as scikit-learn asks for, in one place."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import validate_data

from emnas_gym.models.base import Array, FittedModel
from predictors.estimators.base import Estimator


class MatrixEstimator(Estimator):
    """An estimator on any matrix of features; a subclass writes ``__init__`` and `_fitted`.

    Infinite values, NaN, other numbers of columns and other names of columns are refused, and
    ``n_features_in_`` is set, as scikit-learn's rules say.

    Attributes:
        least_rows: Fewer rows are refused.
    """

    least_rows: ClassVar[int] = 1

    def fit(self, x: Any, y: Any) -> Self:  # noqa: ANN401
        """Fits the model.

        Args:
            x: (N, F) features.
            y: (N,) targets on their own scale.

        Raises:
            ValueError: If shapes do not fit, or a value cannot be used.
        """
        features, targets = validate_data(
            self, x, y, y_numeric=True, dtype=np.float64, ensure_min_samples=self.least_rows
        )
        self.model_ = self._fitted(features, np.asarray(targets, dtype=np.float64))
        return self

    def _checked(self, x: Any) -> Array:  # noqa: ANN401
        checked: Array = validate_data(self, x, reset=False, dtype=np.float64)
        return checked

    @abstractmethod
    def _fitted(self, x: Array, y: Array) -> FittedModel:
        """The model of checked features (N, F) and targets (N,)."""


def standard_scale(x: Array) -> tuple[Array, Array]:
    """Mean and deviation of every feature, shape (F,); the deviation is 1 where nothing varies."""
    centre, scale = x.mean(axis=0), x.std(axis=0)
    return centre, np.where(scale > 1e-9 * np.maximum(np.abs(centre), 1.0), scale, 1.0)
