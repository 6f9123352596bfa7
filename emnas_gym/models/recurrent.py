"""A fitted model in numpy that reads a network layer by layer, as the network itself computes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import SurrogateFileError
from emnas_gym.features import lengths_of
from emnas_gym.models.base import Array, check_shape
from emnas_gym.models.ensemble import LinkedModel, averaged, checked

CHUNK = 256  # networks at a time, so that intermediate values stay in the cache


@dataclass(frozen=True)
class RecurrentEnsemble(LinkedModel):
    """Gated recurrent units (Cho et al. 2014), each with a small network on its last state.

    G stands for the three gates: reset, update and candidate, each as wide as the state S.

    Attributes:
        centre: Mean of every layer feature, shape (F,).
        scale: Deviation of every layer feature, shape (F,).
        read: From a layer to the gates, (members, F, G·S).
        read_bias: (members, 1, G·S).
        keep: From the state to the gates, (members, S, G·S).
        keep_bias: (members, 1, G·S).
        between: From the last state to the hidden layer, (members, S, H).
        between_bias: (members, 1, H).
        out: From the hidden layer to the output, (members, H, 1).
        out_bias: (members, 1, 1).
        link: Scale of the output, one of `emnas_gym.models.ensemble.LINKS`.
    """

    kind: ClassVar[str] = "recurrent"
    reads: ClassVar[str] = "layers"

    centre: Array
    scale: Array
    read: Array
    read_bias: Array
    keep: Array
    keep_bias: Array
    between: Array
    between_bias: Array
    out: Array
    out_bias: Array
    link: str

    def scores(self, layers: Array, lengths: NDArray[np.int64]) -> Array:
        """Output of every member on the scale of the link, shape (members, N)."""
        parts = range(0, len(lengths), CHUNK)
        chunks = [self._scores(layers[i : i + CHUNK], lengths[i : i + CHUNK]) for i in parts]
        return np.concatenate(chunks, axis=1)

    def _scores(self, layers: Array, lengths: NDArray[np.int64]) -> Array:
        order = np.argsort(-lengths, kind="stable")
        standard = (layers[order] - self.centre) / self.scale
        left = lengths[order]
        members, width = self.keep.shape[:2]
        state = np.zeros((members, len(order), width))
        for step in range(int(left[0])):
            running = int(np.searchsorted(-left, -step, side="left"))  # not yet at their end
            self._step(standard[:running, step], state[:, :running])
        hidden = np.tanh(np.matmul(state, self.between) + self.between_bias)
        scores = np.empty((members, len(order)))
        scores[:, order] = (np.matmul(hidden, self.out) + self.out_bias)[:, :, 0]
        return scores

    def _step(self, layer: Array, state: Array) -> None:
        """Moves the state on by one layer, in place."""
        width = state.shape[2]
        read = np.matmul(layer, self.read)
        read += self.read_bias
        keep = np.matmul(state, self.keep)
        keep += self.keep_bias
        gates = read[..., : 2 * width] + keep[..., : 2 * width]
        gates *= 0.5
        np.tanh(gates, out=gates)  # logistic(x) = (1 + tanh(x / 2)) / 2
        gates += 1.0
        gates *= 0.5
        candidate = keep[..., 2 * width :] * gates[..., :width]
        candidate += read[..., 2 * width :]
        np.tanh(candidate, out=candidate)
        state -= candidate
        state *= gates[..., width:]
        state += candidate

    def predict(self, x: Array, lengths: NDArray[np.int64] | None = None) -> tuple[Array, Array]:
        """Mean and standard deviation of the members, each of shape (N,).

        Args:
            x: Layers, shape (N, L, F), zeros after the output layer.
            lengths: Layers with the output layer, shape (N,); counted where they are not given.
        """
        return averaged(self.link, self.scores(x, lengths_of(x) if lengths is None else lengths))

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], options: Mapping[str, Any]) -> Self:
        """Checks what was read from a file.

        Args:
            arrays: As `arrays` gives them, of any float type.
            options: As `options` gives them.

        Raises:
            SurrogateFileError: If arrays are missing, do not fit together, or are not finite.
        """
        values = checked(arrays, cls.names(), options.get("link"))
        if values["between"].ndim != 3:
            raise SurrogateFileError(f"between has shape {values['between'].shape}")
        members, state, hidden = values["between"].shape
        features = len(values["centre"])
        for name, shape in {
            "centre": (features,),
            "scale": (features,),
            "read": (members, features, 3 * state),
            "read_bias": (members, 1, 3 * state),
            "keep": (members, state, 3 * state),
            "keep_bias": (members, 1, 3 * state),
            "between_bias": (members, 1, hidden),
            "out": (members, hidden, 1),
            "out_bias": (members, 1, 1),
        }.items():
            check_shape(values, name, shape)
        return cls(**values, link=options["link"])
