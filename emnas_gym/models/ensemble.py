"""Fitted models in numpy: ensembles of small networks on features of a whole network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import SurrogateFileError

Array = NDArray[np.float64]
LINKS = ("logit", "log")
MARGIN = 0.02  # accuracies 0 and 1 are this far inside the ends of the logistic scale


def link(name: str, values: Array) -> Array:
    """Values on the scale on which a model is fitted.

    Args:
        name: ``"logit"`` for shares 0 … 1, or ``"log"`` for values above 0.
        values: Any shape.
    """
    if name == "log":
        return np.log(values)
    return np.log((values + MARGIN) / (1 + MARGIN - values))


def unlink(name: str, scores: Array) -> Array:
    """The inverse of `link`; shares are clipped to 0 … 1."""
    if name == "log":
        return np.exp(scores)
    return np.clip((1 + 2 * MARGIN) / (1 + np.exp(-scores)) - MARGIN, 0.0, 1.0)


def averaged(link: str, scores: Array) -> tuple[Array, Array]:
    """Mean over members, taken on the scale of the link, and standard deviation off it.

    Args:
        link: One of `LINKS`.
        scores: (members, N).
    """
    return unlink(link, scores.mean(axis=0)), unlink(link, scores).std(axis=0)


@dataclass(frozen=True)
class Ensemble:
    """Several small networks on standardised features, averaged on the scale of the link.

    Features outside the range that was seen in training are taken to be at its end, so that a
    search that climbs cannot leave for where nothing was measured.

    Attributes:
        centre: Mean of every feature, shape (F,).
        scale: Deviation of every feature, shape (F,).
        low: Least standardised feature seen, shape (F,).
        high: Largest standardised feature seen, shape (F,).
        weights: For each layer (members, inputs, outputs); tanh stands between layers.
        biases: For each layer (members, 1, outputs).
        link: Scale of the output, one of `LINKS`.
    """

    centre: Array
    scale: Array
    low: Array
    high: Array
    weights: tuple[Array, ...]
    biases: tuple[Array, ...]
    link: str

    def scores(self, features: Array) -> Array:
        """Output of every member on the scale of the link, shape (members, N)."""
        hidden = np.clip((features - self.centre) / self.scale, self.low, self.high)[None]
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = np.matmul(np.tanh(hidden) if i else hidden, weight) + bias
        return hidden[:, :, 0]

    def predict(self, features: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the members, each of shape (N,).

        Args:
            features: Shape (N, F).
        """
        return averaged(self.link, self.scores(features))

    def arrays(self) -> dict[str, Array]:
        """What is stored in a file."""
        named = {"centre": self.centre, "scale": self.scale, "low": self.low, "high": self.high}
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            named |= {f"weight{i}": weight, f"bias{i}": bias}
        return named

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[np.generic]], link: str, features: int) -> Self:
        """Checks what was read from a file.

        Args:
            arrays: As `arrays` gives them, of any float type.
            link: Scale of the output.
            features: Number of features that it will be given.

        Raises:
            SurrogateFileError: If arrays are missing, do not fit together, or are not finite.
        """
        depth = sum(name.startswith("weight") for name in arrays)
        if not depth:
            raise SurrogateFileError("there are no weights")
        names = [f"{part}{i}" for part in ("weight", "bias") for i in range(depth)]
        values = checked(arrays, ["centre", "scale", "low", "high", *names], link)
        members, width = len(values["weight0"]), features
        for name in ("centre", "scale", "low", "high"):
            check_shape(values, name, (features,))
        for i in range(depth):
            after = values[f"bias{i}"].shape[-1] if i < depth - 1 else 1
            check_shape(values, f"weight{i}", (members, width, after))
            check_shape(values, f"bias{i}", (members, 1, after))
            width = after
        return cls(
            centre=values["centre"],
            scale=values["scale"],
            low=values["low"],
            high=values["high"],
            weights=tuple(values[f"weight{i}"] for i in range(depth)),
            biases=tuple(values[f"bias{i}"] for i in range(depth)),
            link=link,
        )


def checked(
    arrays: Mapping[str, NDArray[np.generic]], names: Sequence[str], link: str
) -> dict[str, Array]:
    """Arrays from outside as float64.

    Raises:
        SurrogateFileError: If they are not the named ones, not finite floats, or have no scale.
    """
    if sorted(arrays) != sorted(names) or link not in LINKS:
        raise SurrogateFileError(f"has the arrays {sorted(arrays)} and the link {link!r}")
    for name, array in arrays.items():
        if array.dtype.kind != "f" or not np.isfinite(array.astype(np.float64)).all():
            raise SurrogateFileError(f"{name} is not made of finite floating-point numbers")
    values = {name: arrays[name].astype(np.float64) for name in names}
    if not (values["scale"] > 0).all():
        raise SurrogateFileError("scale is not above 0")
    return values


def check_shape(values: Mapping[str, Array], name: str, shape: tuple[int, ...]) -> None:
    """Checks one array.

    Raises:
        SurrogateFileError: If it has another shape.
    """
    if values[name].shape != shape:
        raise SurrogateFileError(f"{name} has shape {values[name].shape}, not {shape}")
