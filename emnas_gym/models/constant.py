"""A fitted model that says the same of every network: the baseline of all others."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from emnas_gym.models.base import Array, FittedModel, check_shape, finite


@dataclass(frozen=True)
class Constant(FittedModel):
    """One value, and how far the training values lie from it.

    Attributes:
        value: What is predicted.
        deviation: Root of the mean squared distance of the training values, from 0 on.
    """

    kind: ClassVar[str] = "constant"
    reads: ClassVar[str] = "features"

    value: float
    deviation: float

    def predict(self, x: Sized) -> tuple[Array, Array]:
        """The value and the deviation, each of shape (N,).

        Args:
            x: N networks in any encoding.
        """
        return np.full(len(x), self.value), np.full(len(x), self.deviation)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Both numbers."""
        return {"value": np.array([self.value]), "deviation": np.array([self.deviation])}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], options: Mapping[str, Any]) -> Self:
        """Checks what was read from a file.

        Raises:
            SurrogateFileError: If it is not two finite numbers.
        """
        values = finite(arrays, ["value", "deviation"])
        for name in values:
            check_shape(values, name, (1,))
        return cls(float(values["value"][0]), abs(float(values["deviation"][0])))
