"""Several fitted models as one: their weighted mean, and how far they lie apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import SurrogateFileError
from emnas_gym.models.base import Array, FittedModel, check_shape, finite
from emnas_gym.models.kinds import model_class

JOIN = "&"  # between the names of encodings
MAX_PARTS = 64


@dataclass(frozen=True)
class Mixture(FittedModel):
    """A mixture of the distributions that its parts predict.

    Attributes:
        parts: The models.
        weights: Of each part, from 0 on, 1 in all, shape (P,).
        names: For each part the encoding that it is given out of a table of several; empty where
            all are given the same.
    """

    kind: ClassVar[str] = "mixture"
    reads: ClassVar[str] = "features"

    parts: tuple[FittedModel, ...]
    weights: Array
    names: tuple[str, ...] = ()

    @property
    def encoding(self) -> str:
        """The encodings of the parts, joined where there are several."""
        return JOIN.join(sorted(set(self.names))) if self.names else self.parts[0].encoding

    @property
    def columns(self) -> int | None:
        """Length of the last axis of what all parts read; None where they read several."""
        return None if self.names else self.parts[0].columns

    def predict(self, x: Any) -> tuple[Array, Array]:  # noqa: ANN401
        """Mean and standard deviation of the mixture, each of shape (N,).

        The variance is the mean of the parts' variances and the variance of their means.

        Args:
            x: What all parts read, or a table of encodings by name if the parts are `names`.
        """
        inputs = [self._input(x, name) for name in self.names] or [x] * len(self.parts)
        found = [part.predict(own) for part, own in zip(self.parts, inputs, strict=True)]
        means, deviations = (np.stack(column) for column in zip(*found, strict=True))
        mean = self.weights @ means
        variance = self.weights @ (deviations**2 + (means - mean) ** 2)
        return mean, np.sqrt(variance)

    def _input(self, x: Any, name: str) -> Any:  # noqa: ANN401
        return x[name] if isinstance(x, Mapping) else x

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of every part, its place before their names, and the weights."""
        named: dict[str, NDArray[Any]] = {"weights": self.weights}
        for i, part in enumerate(self.parts):
            named |= {f"{i}.{name}": array for name, array in part.arrays().items()}
        return named

    def options(self) -> dict[str, Any]:
        """Kind and options of every part, and what each reads."""
        parts = [{"kind": part.kind, "options": part.options()} for part in self.parts]
        return {"parts": parts, "names": list(self.names)}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], options: Mapping[str, Any]) -> Self:
        """Checks what was read from a file.

        Raises:
            SurrogateFileError: If a part is of no known kind or does not fit together, parts read
                different things, or the weights are none.
        """
        parts, names = options.get("parts"), options.get("names")
        if not isinstance(parts, list) or not 0 < len(parts) <= MAX_PARTS:
            raise SurrogateFileError("a mixture has one part or more")
        if not isinstance(names, list) or len(names) not in (0, len(parts)):
            raise SurrogateFileError(f"reads {names!r} in {len(parts)} parts")
        own: list[dict[str, NDArray[Any]]] = [{} for _ in parts]
        for name, array in arrays.items():
            place, dot, rest = name.partition(".")
            if dot and place in map(str, range(len(parts))):
                own[int(place)][rest] = array
            elif name != "weights":
                raise SurrogateFileError(f"has the array {name!r} of no part")
        models = tuple(_part(found, given) for found, given in zip(own, parts, strict=True))
        mixture = cls(models, _weights(arrays, len(parts)), tuple(map(str, names)))
        mixture._check()
        return mixture

    def _check(self) -> None:
        widths = {part.columns for part in self.parts} - {None}
        if not self.names and len(widths) > 1:
            raise SurrogateFileError(f"the parts read {sorted(map(str, widths))} columns")


def _part(arrays: Mapping[str, NDArray[Any]], given: object) -> FittedModel:
    if not isinstance(given, dict) or not isinstance(given.get("options"), dict):
        raise SurrogateFileError("a part has a kind and options")
    return model_class(given.get("kind")).of(arrays, given["options"])


def _weights(arrays: Mapping[str, NDArray[Any]], count: int) -> Array:
    if "weights" not in arrays:
        raise SurrogateFileError("a mixture has weights")
    values = finite({"weights": arrays["weights"]}, ["weights"])
    check_shape(values, "weights", (count,))
    weights = values["weights"]
    if (weights < 0).any() or abs(weights.sum() - 1) > 1e-6:
        raise SurrogateFileError(f"weights {weights.tolist()} are no shares of 1")
    return weights
