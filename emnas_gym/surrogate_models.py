"""Fitted models in numpy: ensembles of small networks on features."""

from __future__ import annotations

from collections.abc import Mapping
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
        """Mean of the members, and their standard deviation.

        Args:
            features: Shape (N, F).

        Returns:
            Two arrays of shape (N,); the mean is taken on the scale of the link.
        """
        scores = self.scores(features)
        return unlink(self.link, scores.mean(axis=0)), unlink(self.link, scores).std(axis=0)

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
        names = [f"{part}{i}" for i in range(depth) for part in ("weight", "bias")]
        expected = ["centre", "scale", "low", "high", *names]
        if not depth or sorted(arrays) != sorted(expected) or link not in LINKS:
            raise SurrogateFileError(f"has the arrays {sorted(arrays)} and the link {link!r}")
        values = {name: _floats(name, arrays[name]) for name in expected}
        weights = tuple(values[f"weight{i}"] for i in range(depth))
        biases = tuple(values[f"bias{i}"] for i in range(depth))
        _check_chain(weights, biases, features)
        for name in expected[:4]:
            if values[name].shape != (features,):
                raise SurrogateFileError(
                    f"{name} has shape {values[name].shape}, not ({features},)"
                )
        if not (values["scale"] > 0).all():
            raise SurrogateFileError("scale is not above 0")
        centre, scale, low, high = (values[name] for name in expected[:4])
        return cls(centre, scale, low, high, weights, biases, link)


def _check_chain(weights: tuple[Array, ...], biases: tuple[Array, ...], features: int) -> None:
    width, members = features, weights[0].shape[:1]
    for weight, bias in zip(weights, biases, strict=True):
        if weight.ndim != 3 or weight.shape[:2] != (*members, width):
            raise SurrogateFileError(f"a weight has shape {weight.shape} where {width} come in")
        width = weight.shape[2]
        if bias.shape != (*members, 1, width):
            raise SurrogateFileError(f"a bias has shape {bias.shape} where {width} go out")
    if width != 1:
        raise SurrogateFileError(f"the last layer has {width} outputs, not one")


def _floats(name: str, array: NDArray[np.generic]) -> Array:
    if array.dtype.kind != "f" or not np.isfinite(array.astype(np.float64)).all():
        raise SurrogateFileError(f"{name} is not made of finite floating-point numbers")
    return array.astype(np.float64)
