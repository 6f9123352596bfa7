"""A fitted ranking in numpy: scores of networks, brought to a measured scale by a rising curve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import ShapeError, SurrogateFileError
from emnas_gym.models.base import Array, FittedModel, check_shape, finite


@dataclass(frozen=True)
class Ranking(FittedModel):
    """Several scorers with one hidden layer, and a curve from the mean score to values.

    M members, F features, H hidden units. Without a curve the prediction is the score.

    Attributes:
        centre: Mean of every feature, shape (F,).
        scale: Deviation of every feature, shape (F,).
        between: (M, F, H).
        between_bias: (M, 1, H); tanh follows.
        out: (M, H, 1).
        knots: Rising scores, shape (K,); none where predictions are scores.
        values: What stands at each knot, never falling, shape (K,).
    """

    kind: ClassVar[str] = "ranking"
    reads: ClassVar[str] = "features"

    centre: Array
    scale: Array
    between: Array
    between_bias: Array
    out: Array
    knots: Array
    values: Array

    def scores(self, x: Array) -> Array:
        """Score of every member, shape (M, N)."""
        if x.ndim != 2 or x.shape[1] != len(self.centre):
            raise ShapeError(f"features have shape {x.shape}, not (N, {len(self.centre)})")
        hidden = np.tanh(
            np.matmul((x - self.centre) / self.scale, self.between) + self.between_bias
        )
        result: Array = np.matmul(hidden, self.out)[:, :, 0]
        return result

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the members, each of shape (N,).

        Raises:
            ShapeError: If ``x`` has another number of features than in training.
        """
        scores = self.scores(x)
        if not len(self.knots):
            return scores.mean(axis=0), scores.std(axis=0)
        mean = np.interp(scores.mean(axis=0), self.knots, self.values)
        members = np.interp(scores, self.knots, self.values)
        return mean, members.std(axis=0)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is stored in a file."""
        names = ("centre", "scale", "between", "between_bias", "out", "knots", "values")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], options: Mapping[str, Any]) -> Self:
        """Checks what was read from a file.

        Raises:
            SurrogateFileError: If arrays are missing, do not fit together, or are not finite, or
                the curve falls.
        """
        names = ("centre", "scale", "between", "between_bias", "out", "knots", "values")
        values = finite(arrays, names)
        if options or values["between"].ndim != 3 or values["knots"].ndim != 1:
            raise SurrogateFileError(f"between has shape {values['between'].shape}, or has options")
        members, features, hidden = values["between"].shape
        shapes = {
            "centre": (features,),
            "scale": (features,),
            "between_bias": (members, 1, hidden),
            "out": (members, hidden, 1),
            "values": values["knots"].shape,
        }
        for name, shape in shapes.items():
            check_shape(values, name, shape)
        if (np.diff(values["knots"]) <= 0).any() or (np.diff(values["values"]) < 0).any():
            raise SurrogateFileError("the curve's knots do not rise, or its values fall")
        if not (values["scale"] > 0).all():
            raise SurrogateFileError("scale is not above 0")
        return cls(**values)
