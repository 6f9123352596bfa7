"""A fitted model of networks that either learn or stay at chance, in two parts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from emnas_gym import propagation
from emnas_gym.errors import SurrogateFileError
from emnas_gym.features import LAYER, lengths_of
from emnas_gym.models.base import Array, FittedModel
from emnas_gym.models.recurrent import RecurrentEnsemble

WIDTH = len(LAYER) + len(propagation.SIGNALS)
MAX_SHARPNESS = 10.0


@dataclass(frozen=True)
class TwoPart(FittedModel):
    """The probability that a network learns, and the accuracy that it then reaches.

    Both parts read the layers and how signals fare in them (`emnas_gym.propagation`).

    Attributes:
        learns: Gives the probability.
        accuracy: Gives the accuracy of a network that learns.
        chance: Accuracy of one that does not.
        spread: Standard deviation of accuracies of networks that learn, about the prediction.
        chance_spread: The same of networks that do not, about `chance`.
        sharpness: 1 predicts the mean of the two outcomes, more goes towards the likelier one,
            which is their median.
    """

    kind: ClassVar[str] = "two_part"
    reads: ClassVar[str] = "layers"

    learns: RecurrentEnsemble
    accuracy: RecurrentEnsemble
    chance: float
    spread: float
    chance_spread: float
    sharpness: float = 1.0

    @property
    def columns(self) -> int:
        """Number of layer features that it reads."""
        return len(LAYER)

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Predictions and the standard deviations of the outcomes, each of shape (N,).

        Args:
            x: Layers, shape (N, L, F), zeros after the output layer.
        """
        probability, reached = self.outcomes(x)
        gain = reached - self.chance
        within = probability * self.spread**2 + (1 - probability) * self.chance_spread**2
        variance = probability * (1 - probability) * gain**2 + within
        return self.chance + sharpened(probability, self.sharpness) * gain, np.sqrt(variance)

    def outcomes(self, x: Array) -> tuple[Array, Array]:
        """The probability to learn and the accuracy then, each of shape (N,)."""
        lengths, both = lengths_of(x), with_signals(x)
        return self.learns.predict(both, lengths)[0], self.accuracy.predict(both, lengths)[0]

    def sharper(self, sharpness: float) -> Self:
        """The same model with another sharpness."""
        return replace(self, sharpness=sharpness)

    def expected(self, x: Array) -> dict[str, float]:
        """Mean absolute and squared error over networks, if the stated probabilities were true.

        Accuracies are taken to be normal about each of the two outcomes.

        Args:
            x: Layers, shape (N, L, F).
        """
        probability, reached = self.outcomes(x)
        mean, deviation = self.predict(x)
        unbiased = sharpened(probability, 1.0) * (reached - self.chance) + self.chance
        learned = _mean_size(reached - mean, self.spread)
        not_learned = _mean_size(self.chance - mean, self.chance_spread)
        size = probability * learned + (1 - probability) * not_learned
        square = deviation**2 + (unbiased - mean) ** 2
        return {"mae": float(size.mean()), "mse": float(square.mean())}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays of both parts, the part before their names."""
        parts = {"learns": self.learns, "accuracy": self.accuracy}
        return {
            f"{part}.{k}": v for part, model in parts.items() for k, v in model.arrays().items()
        }

    def options(self) -> dict[str, Any]:
        """Numbers that are not arrays, and the version of the signals that it reads."""
        return {
            "chance": self.chance,
            "spread": self.spread,
            "chance_spread": self.chance_spread,
            "sharpness": self.sharpness,
            "link": self.learns.link,
            "signals": propagation.VERSION,
        }

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], options: Mapping[str, Any]) -> Self:
        """Checks what was read from a file.

        Raises:
            SurrogateFileError: If something is missing, does not fit together or is not finite, or
                was fitted on other signals.
        """
        if options.get("signals") != propagation.VERSION:
            raise SurrogateFileError(
                f"was fitted on version {options.get('signals')!r} of the signals, "
                f"this is {propagation.VERSION}; fit it again"
            )
        parts = _parts(arrays, options)
        limits = dict.fromkeys(("chance", "spread", "chance_spread"), 1.0) | {
            "sharpness": MAX_SHARPNESS
        }
        numbers = {name: _number(options, name, most) for name, most in limits.items()}
        return cls(parts["learns"], parts["accuracy"], **numbers)


def with_signals(layers: Array) -> Array:
    """Layers (N, L, F) with the signals of `emnas_gym.propagation` beside their features."""
    return np.concatenate([layers, propagation.propagate(layers)], axis=2)


def sharpened(probability: Array, sharpness: float) -> Array:
    """Probabilities whose logits are ``sharpness`` times as large."""
    yes, no = probability**sharpness, (1 - probability) ** sharpness
    share: Array = yes / (yes + no)
    return share


def _mean_size(mean: Array, deviation: float) -> Array:
    """Mean absolute value of normal numbers, a folded normal distribution."""
    if not deviation:
        return np.abs(mean)
    ratio = mean / deviation
    erf = np.array([math.erf(r / math.sqrt(2)) for r in ratio])
    size: Array = deviation * math.sqrt(2 / math.pi) * np.exp(-(ratio**2) / 2) + mean * erf
    return size


def _parts(
    arrays: Mapping[str, NDArray[Any]], options: Mapping[str, Any]
) -> dict[str, RecurrentEnsemble]:
    own: dict[str, dict[str, NDArray[Any]]] = {"learns": {}, "accuracy": {}}
    for name, array in arrays.items():
        part, _, rest = name.partition(".")
        if part not in own or not rest:
            raise SurrogateFileError(f"has the array {name!r} of no part")
        own[part][rest] = array
    models = {part: RecurrentEnsemble.of(found, options) for part, found in own.items()}
    for part, model in models.items():
        if model.columns != WIDTH or model.link != "logit":
            raise SurrogateFileError(f"{part} reads {model.columns} columns instead of {WIDTH}")
    return models


def _number(options: Mapping[str, Any], name: str, most: float) -> float:
    value = options.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise SurrogateFileError(f"{name} is {value!r}, not a number from 0 to {most:g}")
    return float(value)
