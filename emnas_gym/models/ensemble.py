"""Fitted models in numpy: ensembles of small networks on features of a whole network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import SurrogateFileError
from emnas_gym.models.base import Array, FittedModel, check_shape, finite

LINKS = ("logit", "log", "identity")
MARGIN = 0.02  # accuracies 0 and 1 are this far inside the ends of the logistic scale


def link(name: str, values: Array) -> Array:
    """Values on the scale on which a model is fitted.

    Args:
        name: ``"logit"`` for shares 0 … 1, ``"log"`` for values above 0, or ``"identity"``.
        values: Any shape.
    """
    if name == "identity":
        return values
    if name == "log":
        return np.log(values)
    return np.log((values + MARGIN) / (1 + MARGIN - values))


def unlink(name: str, scores: Array) -> Array:
    """The inverse of `link`; shares are clipped to 0 … 1."""
    if name == "identity":
        return scores
    if name == "log":
        return np.exp(scores)
    shares = (1 + 2 * MARGIN) / (1 + np.exp(-scores)) - MARGIN
    return np.minimum(np.maximum(shares, 0.0), 1.0)  # faster for few than clip


def averaged(link: str, scores: Array) -> tuple[Array, Array]:
    """Mean over members, taken on the scale of the link, and standard deviation off it.

    Args:
        link: One of `LINKS`.
        scores: (members, N).
    """
    return unlink(link, scores.mean(axis=0)), unlink(link, scores).std(axis=0)


def off_link(link: str, score: Array, deviation: Array) -> tuple[Array, Array]:
    """Values and deviations off the scale of the link.

    Args:
        link: One of `LINKS`.
        score: (N,), on the scale of the link.
        deviation: (N,), there as well; off it, half the distance of one below to one above.
    """
    spread = (unlink(link, score + deviation) - unlink(link, score - deviation)) / 2
    return unlink(link, score), np.abs(spread)


class LinkedModel(FittedModel):
    """A model that scores on the scale of a link; a dataclass of arrays and that.

    Attributes:
        centre: Mean of every feature, shape (F,).
        link: Scale of the score, one of `LINKS`.
    """

    centre: Array
    link: str

    @property
    def columns(self) -> int:
        """Number of features that it reads."""
        return len(self.centre)

    def options(self) -> dict[str, Any]:
        """The link."""
        return {"link": self.link}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is stored in a file."""
        return {name: getattr(self, name) for name in self.names()}

    @classmethod
    def names(cls) -> list[str]:
        """Names of the arrays."""
        return [f.name for f in fields(cls) if f.name != "link"]  # type: ignore[arg-type]


@dataclass(frozen=True)
class Ensemble(LinkedModel):
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

    kind: ClassVar[str] = "ensemble"
    reads: ClassVar[str] = "features"

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

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Mean and standard deviation of the members, each of shape (N,).

        Args:
            x: Features, shape (N, F).
        """
        return averaged(self.link, self.scores(x))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What is stored in a file."""
        named = {"centre": self.centre, "scale": self.scale, "low": self.low, "high": self.high}
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            named |= {f"weight{i}": weight, f"bias{i}": bias}
        return named

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], options: Mapping[str, Any]) -> Self:
        """Checks what was read from a file.

        Args:
            arrays: As `arrays` gives them, of any float type.
            options: As `options` gives them.

        Raises:
            SurrogateFileError: If arrays are missing, do not fit together, or are not finite.
        """
        depth = sum(name.startswith("weight") for name in arrays)
        if not depth:
            raise SurrogateFileError("there are no weights")
        names = [f"{part}{i}" for part in ("weight", "bias") for i in range(depth)]
        values = checked(arrays, ["centre", "scale", "low", "high", *names], options.get("link"))
        members, width = len(values["weight0"]), len(values["centre"])
        for name in ("centre", "scale", "low", "high"):
            check_shape(values, name, (width,))
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
            link=options["link"],
        )


def check_link(link: object) -> str:
    """The name of a link from a file.

    Raises:
        SurrogateFileError: If it is none of `LINKS`.
    """
    if not isinstance(link, str) or link not in LINKS:
        raise SurrogateFileError(f"has the link {link!r}, which is none of {', '.join(LINKS)}")
    return link


def checked(
    arrays: Mapping[str, NDArray[Any]], names: Sequence[str], link: object
) -> dict[str, Array]:
    """Arrays of an ensemble from outside as float64.

    Raises:
        SurrogateFileError: If they are not the named ones, not finite floats, hold nothing, or
            have no scale, or there is no such link.
    """
    check_link(link)
    values = finite(arrays, names)
    for name, array in arrays.items():
        if array.dtype.kind != "f" or not array.size or not array.ndim:
            raise SurrogateFileError(f"{name} is not made of floating-point numbers")
    if not (values["scale"] > 0).all():
        raise SurrogateFileError("scale is not above 0")
    return values
