"""The baseline that every estimator is held against: the median of the training values."""

from __future__ import annotations

from typing import Any

import numpy as np

from emnas_gym.models.base import Array
from emnas_gym.models.constant import Constant
from predictors.estimators.matrix import MatrixEstimator


class MedianRegressor(MatrixEstimator):
    """Says the median of the training values, whatever it is asked."""

    ordered = False

    def _fitted(self, x: Array, y: Array) -> Constant:
        middle = float(np.median(y))
        return Constant(middle, float(np.sqrt(((y - middle) ** 2).mean())))

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401
        """Scikit-learn's tags: a baseline need not score well."""
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags
