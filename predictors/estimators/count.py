"""One count alone, such as parameters or MACs: the predictor that many papers forget to beat."""

from __future__ import annotations

from typing import Any

import numpy as np

from emnas_gym.errors import UnknownName
from emnas_gym.models.base import Array
from emnas_gym.models.counts import COUNTS
from emnas_gym.models.linear import Linear
from predictors.estimators.base import on_link
from predictors.estimators.matrix import MatrixEstimator


class CountRegressor(MatrixEstimator):
    """A line through one column by least squares, on the scale of the link.

    The columns of the encoding ``counts`` are logarithms, so that with the link ``"log"`` this is
    a power of the count, and in any case a monotone function of it.

    Args:
        column: Number of the column, or a name of `emnas_gym.models.counts.COUNTS`.
        link: Scale of the target, ``"identity"``, ``"logit"`` or ``"log"``.
    """

    ordered = False

    def __init__(self, column: int | str = 0, link: str = "identity") -> None:
        self.column = column
        self.link = link

    def _fitted(self, x: Array, y: Array) -> Linear:
        target = on_link(self.link, y)
        column = self._place(x.shape[1])
        values = x[:, column]
        slope, middle = 0.0, values.mean()
        if np.ptp(values) > 0:
            slope = float(((values - middle) * target).sum() / ((values - middle) ** 2).sum())
        bias = float(target.mean() - slope * middle)
        weight = np.zeros(x.shape[1])
        weight[column] = slope
        deviation = float((target - slope * values - bias).std())
        return Linear(x.min(axis=0), x.max(axis=0), weight, bias, deviation, self.link)

    def _place(self, width: int) -> int:
        if isinstance(self.column, str):
            if self.column not in COUNTS:
                raise UnknownName("count", self.column, COUNTS)
            if width != len(COUNTS):
                raise ValueError(f"names of counts need their {len(COUNTS)} columns, not {width}")
            return COUNTS.index(self.column)
        if not 0 <= self.column < width:
            raise ValueError(f"there is no column {self.column} in {width} feature(s)")
        return self.column

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401
        """Scikit-learn's tags: one column need not explain the target."""
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags
