"""The contract of our estimators: scikit-learn's rules, and a fitted model that is plain arrays."""

from __future__ import annotations

from typing import Any, Literal, overload

from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted

from emnas_gym.models.base import Array, FittedModel


class Estimator(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """`fit` leaves a `FittedModel` behind as ``model_``; all predictions go through it.

    So what is shipped predicts what was evaluated. A subclass writes ``__init__``, which only
    stores, and ``fit``, which checks its input, sets ``model_`` and returns itself.
    """

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
