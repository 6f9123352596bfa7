"""The contract of our estimators: scikit-learn's rules, and a fitted model that is plain arrays."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, overload

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from emnas_gym.errors import UnknownName
from emnas_gym.models.base import Array, FittedModel
from emnas_gym.models.ensemble import LINKS, link


class Estimator(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """`fit` leaves a `FittedModel` behind as ``model_``; all predictions go through it.

    So what is shipped predicts what was evaluated. A subclass writes ``__init__``, which only
    stores, and ``fit``, which checks its input, sets ``model_`` and returns itself.

    Attributes:
        ordered: Whether the order of the training rows changes the fit: what draws rows or begins
            at random, or folds them in their order. Others keep it but for rounding.
    """

    ordered: ClassVar[bool] = True
    model_: FittedModel

    @overload
    def predict(self, x: Any, return_std: Literal[False] = ...) -> Array: ...  # noqa: ANN401
    @overload
    def predict(self, x: Any, return_std: Literal[True]) -> tuple[Array, Array]: ...  # noqa: ANN401

    def predict(self, x: Any, return_std: bool = False) -> Array | tuple[Array, Array]:
        """Predictions of shape (N,), and their standard deviations where they are asked for.

        Args:
            x: N networks in the encoding that the estimator reads.
            return_std: Whether deviations are returned too.

        Raises:
            NotFittedError: If it was not fitted.
        """
        check_is_fitted(self)
        mean, deviation = self.model_.predict(self._checked(x))
        return (mean, deviation) if return_std else mean

    def _checked(self, x: Any) -> Any:  # noqa: ANN401
        """What the model is given; estimators on matrices check their shape here."""
        return x


def on_link(name: str, y: Any) -> Array:  # noqa: ANN401
    """Targets on the scale of a link.

    Args:
        name: One of `emnas_gym.models.ensemble.LINKS`.
        y: (N,) targets on their own scale.

    Raises:
        UnknownName: If there is no such link.
        ValueError: If a target is not finite or has no place on the scale.
    """
    values = np.asarray(y, dtype=np.float64)
    if name not in LINKS:
        raise UnknownName("link", name, LINKS)
    if not np.isfinite(values).all():
        raise ValueError("targets are finite numbers; there is NaN or infinity in y")
    if name == "log" and not (values > 0).all():
        raise ValueError(f"targets on a logarithmic scale are above 0; there is {values.min():g}")
    if name == "logit" and not ((values >= 0) & (values <= 1)).all():
        ends = f"{values.min():g} to {values.max():g}"
        raise ValueError(f"targets on a logistic scale lie in 0 … 1, not in {ends}")
    return link(name, values)
