"""A fitted model that is a weighted sum of features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import SurrogateFileError
from emnas_gym.models.base import Array, FittedModel, check_shape, finite
from emnas_gym.models.ensemble import check_link, off_link


@dataclass(frozen=True)
class Linear(FittedModel):
    """A weighted sum on the scale of the link.

    Features outside the range that was seen in training are taken to be at its end, so that a
    search that climbs cannot leave for where nothing was measured.

    Attributes:
        low: Least value seen of every feature, shape (F,).
        high: Largest value seen of every feature, shape (F,).
        weight: Shape (F,).
        bias: The sum where all features are 0.
        deviation: Deviation of the training residuals on the scale of the link, from 0 on.
        link: Scale of the output, one of `emnas_gym.models.ensemble.LINKS`.
    """

    kind: ClassVar[str] = "linear"
    reads: ClassVar[str] = "features"

    low: Array
    high: Array
    weight: Array
    bias: float
    deviation: float
    link: str

    @property
    def columns(self) -> int:
        """Number of features that it reads."""
        return len(self.weight)

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Sums, and the deviation of the training residuals around them, each of shape (N,).

        Args:
            x: Features, shape (N, F).
        """
        score = np.clip(x, self.low, self.high) @ self.weight + self.bias
        return off_link(self.link, score, np.full(len(score), self.deviation))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Weights, ranges, bias and deviation."""
        both = np.array([self.bias, self.deviation])
        return {"low": self.low, "high": self.high, "weight": self.weight, "bias": both}

    def options(self) -> dict[str, Any]:
        """The link."""
        return {"link": self.link}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], options: Mapping[str, Any]) -> Self:
        """Checks what was read from a file.

        Raises:
            SurrogateFileError: If arrays are missing, do not fit together, or are not finite.
        """
        values = finite(arrays, ["low", "high", "weight", "bias"])
        if values["weight"].ndim != 1:
            raise SurrogateFileError(f"weight has shape {values['weight'].shape}")
        for name in ("low", "high"):
            check_shape(values, name, values["weight"].shape)
        check_shape(values, "bias", (2,))
        bias, deviation = values["bias"].tolist()
        if deviation < 0:
            raise SurrogateFileError(f"the deviation {deviation} is below 0")
        low, high, weight = (values[name] for name in ("low", "high", "weight"))
        return cls(low, high, weight, bias, deviation, check_link(options.get("link")))
