"""Estimators made of estimators: they take networks in any encoding that their parts take."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.validation import validate_data

from emnas_gym.graph_encoding import Graphs
from emnas_gym.models.base import Array, FittedModel
from predictors.estimators.base import Estimator, on_link
from predictors.estimators.selection import check_finite, count


class CompositeEstimator(Estimator):
    """Checks a matrix as scikit-learn asks for, and leaves other encodings to the parts."""

    def fit(self, x: Any, y: Any) -> Self:  # noqa: ANN401
        """Fits the parts.

        Args:
            x: N networks in one encoding, or a table of encodings by name.
            y: (N,) targets on their own scale.

        Raises:
            ValueError: If shapes do not fit, there are too few rows, or a value cannot be used.
        """
        if is_matrix(x):
            x, y = validate_data(self, x, y, y_numeric=True, dtype=np.float64)
        else:
            check_finite(x)
        y = on_link("identity", y)
        if count(x) != len(y):
            raise ValueError(f"{count(x)} networks and {len(y)} targets")
        self.model_ = self._fitted(x, y)
        return self

    def _checked(self, x: Any) -> Any:  # noqa: ANN401
        if is_matrix(x):
            return validate_data(self, x, reset=False, dtype=np.float64)
        check_finite(x)
        return x

    @abstractmethod
    def _fitted(self, x: Any, y: Array) -> FittedModel:  # noqa: ANN401
        """The model of checked networks and targets (N,)."""


def is_matrix(x: Any) -> bool:  # noqa: ANN401
    """Whether networks are given as a matrix, and not as layers, terms, graphs or a table."""
    if issparse(x):  # some of which are tables
        return True
    if isinstance(x, (Mapping, Graphs)) or getattr(x, "ndim", 2) == 3:
        return False
    return not (isinstance(x, list) and x and isinstance(x[0], Mapping))
