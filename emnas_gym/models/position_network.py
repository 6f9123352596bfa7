"""The network of the original search system: the same layers on every position, then on all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import SurrogateFileError
from emnas_gym.models.base import Array, FittedModel, check_shape, finite
from emnas_gym.models.ensemble import check_link, unlink

CHUNK = 256  # networks at a time
MAX_LAYERS = 64
Layer = tuple[Array, Array]  # weights (inputs, outputs), biases (outputs,)


@dataclass(frozen=True)
class PositionNetwork(FittedModel):
    """Dense layers with relu on each of L positions, flattened, then dense layers to one output.

    Attributes:
        each: Layers on every position; the first reads the classes of a one-hot row.
        after: Layers on all positions together; relu stands between them, the last has one unit.
        positions: L.
        link: Scale of the output, one of `emnas_gym.models.ensemble.LINKS`.
    """

    kind: ClassVar[str] = "position_network"
    reads: ClassVar[str] = "onehot"

    each: tuple[Layer, ...]
    after: tuple[Layer, ...]
    positions: int
    link: str

    @property
    def columns(self) -> int:
        """Positions times classes."""
        return self.positions * len(self.each[0][0])

    def predict(self, x: Array) -> tuple[Array, Array]:
        """Outputs and zeros, each of shape (N,); one network knows nothing of its doubt.

        Args:
            x: One-hot rows, position after position, shape (N, L · classes).
        """
        flat = np.asarray(x, dtype=np.float64).reshape(len(x), -1)
        parts = [self._scores(flat[i : i + CHUNK]) for i in range(0, len(flat), CHUNK)]
        return unlink(self.link, np.concatenate([np.zeros(0), *parts])), np.zeros(len(flat))

    def _scores(self, x: Array) -> Array:
        hidden: Array = x.reshape(len(x), self.positions, -1)
        for weight, bias in self.each:
            hidden = np.maximum(hidden @ weight + bias, 0.0)
        hidden = hidden.reshape(len(x), -1)
        for weight, bias in self.after[:-1]:
            hidden = np.maximum(hidden @ weight + bias, 0.0)
        score: Array = (hidden @ self.after[-1][0] + self.after[-1][1])[:, 0]
        return score

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Weights and biases."""
        named: dict[str, NDArray[Any]] = {}
        for part, layers in (("each", self.each), ("after", self.after)):
            for i, (weight, bias) in enumerate(layers):
                named |= {f"{part}_weight{i}": weight, f"{part}_bias{i}": bias}
        return named

    def options(self) -> dict[str, Any]:
        """Link, positions and the number of layers of both parts."""
        layers = [len(self.each), len(self.after)]
        return {"link": self.link, "positions": self.positions, "layers": layers}

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], options: Mapping[str, Any]) -> Self:
        """Checks what was read from a file.

        Raises:
            SurrogateFileError: If arrays are missing, do not fit together, or are not finite.
        """
        each, after, places = _numbers(options)
        names = {"each": each, "after": after}
        values = finite(
            arrays,
            [f"{p}_{w}{i}" for p, n in names.items() for w in ("weight", "bias") for i in range(n)],
        )
        if values["each_weight0"].ndim != 2:
            raise SurrogateFileError(f"each_weight0 has shape {values['each_weight0'].shape}")
        first = _layers(values, "each", each, len(values["each_weight0"]))
        second = _layers(values, "after", after, places * first[-1][0].shape[1])
        check_shape(values, f"after_bias{after - 1}", (1,))
        return cls(first, second, places, check_link(options.get("link")))


def _numbers(options: Mapping[str, Any]) -> tuple[int, int, int]:
    """Layers on each position, layers after, positions."""
    counts, positions = options.get("layers"), options.get("positions")
    numbers: list[Any] = [*counts, positions] if isinstance(counts, list) else []
    if len(numbers) != 3 or not all(type(n) is int and 0 < n <= MAX_LAYERS for n in numbers):
        raise SurrogateFileError(f"has {counts!r} layers on {positions!r} positions")
    return numbers[0], numbers[1], numbers[2]


def _layers(values: Mapping[str, Array], part: str, count: int, width: int) -> tuple[Layer, ...]:
    """Layers that fit onto each other, the first onto so many inputs."""
    layers = []
    for i in range(count):
        weight, bias = values[f"{part}_weight{i}"], values[f"{part}_bias{i}"]
        check_shape(values, f"{part}_bias{i}", (bias.size,))
        check_shape(values, f"{part}_weight{i}", (width, bias.size))
        if not weight.size:
            raise SurrogateFileError(f"{part}_weight{i} is empty")
        layers.append((weight, bias))
        width = bias.size
    return tuple(layers)


def parameters(layers: Sequence[Layer]) -> int:
    """Number of weights and biases."""
    return sum(weight.size + bias.size for weight, bias in layers)
