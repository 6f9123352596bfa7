"""A fitted latency in numpy: a weighted sum of counts, shifted to where measurements crowd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import ShapeError, SurrogateFileError
from emnas_gym.models.base import Array, FittedModel, check_shape, finite


@dataclass(frozen=True)
class CentredSum(FittedModel):
    """A sum of counts times costs, times a factor that depends on the sum alone.

    Attributes:
        costs: Of one of each count, in the unit of the values, shape (F,).
        constant: What every network costs, shape ().
        least: Least value that was measured: no prediction is below it, shape ().
        knots: Rising natural logarithms of the sum, shape (K,).
        shifts: Natural logarithm of the factor at each knot, shape (K,).
    """

    kind: ClassVar[str] = "centred_sum"
    reads: ClassVar[str] = "features"

    costs: Array
    constant: Array
    least: Array
    knots: Array
    shifts: Array

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Predictions and zeros, each of shape (N,).

        Args:
            x: Counts, shape (N, F).

        Raises:
            ShapeError: If ``x`` has another number of columns than in training.
        """
        if x.ndim != 2 or x.shape[1] != len(self.costs):
            raise ShapeError(f"counts have shape {x.shape}, not (N, {len(self.costs)})")
        total = np.maximum(x @ self.costs + self.constant, self.least)
        mean = total * np.exp(np.interp(np.log(total), self.knots, self.shifts))
        return mean, np.zeros(len(x))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is stored in a file."""
        names = ("costs", "constant", "least", "knots", "shifts")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], options: Mapping[str, Any]) -> Self:
        """Checks what was read from a file.

        Raises:
            SurrogateFileError: If arrays are missing, do not fit together, or are not finite.
        """
        values = finite(arrays, ("costs", "constant", "least", "knots", "shifts"))
        if options or values["costs"].ndim != 1 or values["knots"].ndim != 1:
            raise SurrogateFileError("costs and knots have one axis, and there are no options")
        for name in ("constant", "least"):
            check_shape(values, name, ())
        check_shape(values, "shifts", values["knots"].shape)
        if not len(values["knots"]) or (np.diff(values["knots"]) <= 0).any():
            raise SurrogateFileError("knots do not rise")
        if values["least"] <= 0:
            raise SurrogateFileError("least is not above 0")
        return cls(**values)
