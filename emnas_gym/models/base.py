"""The contract of a fitted model in numpy, and checks of arrays that come from a file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import SurrogateFileError

Array = NDArray[np.float64]


class FittedModel(ABC):
    """What a fit leaves behind: plain arrays, and how they predict.

    A model is immutable. What it predicts before it is stored and after it is read back is equal
    to the bit, so its arrays hold values that float32 holds (`rounded`), or say otherwise.

    Attributes:
        kind: Name of the class in files.
        reads: Encoding of networks that it reads (`emnas_gym.models.inputs`); ``"features"`` is
            any matrix of shape (N, F).
    """

    kind: ClassVar[str]
    reads: ClassVar[str]

    @abstractmethod
    def predict(self, x: Any) -> tuple[Array, Array]:  # noqa: ANN401
        """Predictions and their standard deviations, each of shape (N,).

        The deviations are zero where the model knows nothing of its own doubt.

        Args:
            x: N networks in the encoding that it reads.
        """

    @abstractmethod
    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is stored in a file; numbers only, never objects."""

    def options(self) -> dict[str, Any]:
        """What is stored besides, as plain JSON data."""
        return {}

    @property
    def encoding(self) -> str:
        """What it reads in full, for models of a class that differ in it."""
        return self.reads

    @property
    def columns(self) -> int | None:
        """Length of the last axis of the arrays that it reads; None where it takes any."""
        return None

    @classmethod
    @abstractmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], options: Mapping[str, Any]) -> Self:
        """Makes a model of what was read from a file, which is not trusted.

        Raises:
            SurrogateFileError: If something is missing, has another shape or type, is not finite,
                or would index outside.
        """


def rounded(values: NDArray[Any]) -> Array:
    """Float32 as it is stored, in the float64 in which it is used.

    Rows lie one after the other as they do when they are read: sums in another order differ in
    their last bits.
    """
    return np.array(values, dtype=np.float32, order="C").astype(np.float64)


def finite(arrays: Mapping[str, NDArray[Any]], names: Sequence[str]) -> dict[str, Array]:
    """Exactly the named arrays, as float64.

    Raises:
        SurrogateFileError: If others are there, or one does not hold finite numbers.
    """
    if sorted(arrays) != sorted(names):
        raise SurrogateFileError(f"has the arrays {sorted(arrays)} instead of {sorted(names)}")
    for name, array in arrays.items():
        if array.dtype.kind not in "fiu" or not np.isfinite(array.astype(np.float64)).all():
            raise SurrogateFileError(f"{name} is not made of finite numbers")
    return {name: arrays[name].astype(np.float64) for name in names}


def check_shape(values: Mapping[str, NDArray[Any]], name: str, shape: tuple[int, ...]) -> None:
    """Checks one array.

    Raises:
        SurrogateFileError: If it has another shape.
    """
    if values[name].shape != shape:
        raise SurrogateFileError(f"{name} has shape {values[name].shape}, not {shape}")
