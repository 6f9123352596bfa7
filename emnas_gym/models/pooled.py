"""A fitted model in numpy that is fast in batches: gated sums over layers that tables hold.

What a layer does to the sum depends on the layer alone. At one input shape a space has few layers,
so each is computed once and looked up ever after (`GateTable`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import SurrogateFileError
from emnas_gym.features import LayerTable, lengths_of
from emnas_gym.growing_rows import GrowingRows
from emnas_gym.models.base import Array, check_shape
from emnas_gym.models.ensemble import LinkedModel, checked, off_link, unlink
from emnas_gym.models.gated_sums import Gates, Rows, sums

CHUNK = 512  # networks at a time whose layers are described anew
GRID = 2.0**16  # matrices hold multiples of 1 / GRID
SINGLE_GRID = np.float32(GRID)
LIMIT = 64.0  # largest value that a matrix is multiplied with
LARGEST = 32.0  # largest weight
WIDEST = 512  # most rows of a matrix; GRID² · LIMIT · LARGEST · WIDEST < 2⁵³: sums are exact
DOUBT = (-12.0, 3.0)  # ends of the logarithm of a deviation


def on_grid(values: NDArray[Any], limit: float = LIMIT) -> Array:
    """The nearest multiples of 1 / `GRID` within ± limit."""
    found: Array = np.rint(np.multiply(values, GRID, dtype=np.float64)) / GRID
    return found.clip(-limit, limit)


@dataclass(frozen=True)
class PooledNetwork(LinkedModel):
    """A recurrence whose gates read the layer alone (minGRU, Feng et al. 2024), then a network.

    Layer t turns the sum s into ``keep[t] · s + add[t]``, value by value, with
    ``add = (1 − keep) · proposal``. Order and depth count as in a recurrent network, and both gates
    are functions of one layer; where a network has ended nothing changes. How sums are made fast
    tells `emnas_gym.models.gated_sums`.

    Scores are equal to the bit in every batch and on every machine: matrix products are exact,
    since all that they read are multiples of 1 / `GRID`, and the rest rounds value by value as
    IEEE 754 prescribes. S stands for the width of the sum.

    Attributes:
        centre: Mean of every layer feature, shape (F,).
        scale: Deviation of every layer feature, shape (F,).
        read: From a layer, (F, E).
        read_bias: (E,).
        gate: To gate and proposal, (E, 2·S).
        gate_bias: (2·S,).
        first: From the sum, (S, H).
        first_bias: (H,).
        second: (H, H).
        second_bias: (H,).
        out: To the score, and the logarithm of its deviation where that was learned: (H, 1 or 2).
        out_bias: (1 or 2,).
        link: Scale of the score, one of `emnas_gym.models.ensemble.LINKS`.
    """

    kind: ClassVar[str] = "pooled"
    reads: ClassVar[str] = "layers"

    centre: Array
    scale: Array
    read: Array
    read_bias: Array
    gate: Array
    gate_bias: Array
    first: Array
    first_bias: Array
    second: Array
    second_bias: Array
    out: Array
    out_bias: Array
    link: str

    def gates(self, layers: Array) -> Gates:
        """What layers do to the sum.

        Args:
            layers: (R, F).

        Returns:
            The gates of each.
        """
        steps = on_grid((layers - self.centre) / self.scale) * GRID
        hidden = _active(steps @ self.read + self.read_bias * GRID)
        both = hidden @ (self.gate / GRID) + self.gate_bias
        width = len(self.first)
        proposal = both[:, width:].clip(-LIMIT, LIMIT)
        keep = 0.5 + 0.5 * both[:, :width] / np.sqrt(1.0 + both[:, :width] ** 2)
        return Gates(keep.astype(np.float32), ((1.0 - keep) * proposal).astype(np.float32))

    def no_layer(self) -> Gates:
        """The gates that change nothing: one layer."""
        keep = np.ones((1, len(self.first)), dtype=np.float32)
        return Gates(keep, np.zeros_like(keep))

    def scores(self, gates: Gates, rows: Rows) -> Array:
        """What the network says of sums of layers.

        Args:
            gates: Of the layers that rows name.
            rows: (N, L), the layers of each network in their order.

        Returns:
            (N, 1 or 2): the score, and the logarithm of its deviation where that was learned.
        """
        last, offset = self._stepwise[-1]
        scores: Array = self._hidden(gates, rows) @ last
        scores += offset
        return scores

    def _hidden(self, gates: Gates, rows: Rows) -> Array:
        """What the last matrix reads, shape (N, H)."""
        total = sums(gates, rows)  # within ± `LIMIT` but for rounding: of means of such values
        hidden: Array = np.rint(total * SINGLE_GRID).astype(np.float64)
        for weight, bias in self._stepwise[:-1]:
            hidden = hidden @ weight
            hidden += bias
            hidden = _active(hidden)
        return hidden

    @cached_property
    def _stepwise(self) -> tuple[tuple[Array, Array], ...]:
        """The layers on the sum, reading and giving whole numbers of 1 / `GRID`; scores as such."""
        return (
            (self.first, self.first_bias * GRID),
            (self.second, self.second_bias * GRID),
            (self.out / GRID, self.out_bias),
        )

    def means(self, gates: Gates, rows: Rows) -> Array:
        """Predictions without deviations, shape (N,); arguments as those of `scores`."""
        last, offset = self._stepwise[-1]
        score: Array = self._hidden(gates, rows) @ last[:, 0]  # exact, so that of `scores`
        score += offset[0]
        return unlink(self.link, score)

    def both(self, gates: Gates, rows: Rows) -> tuple[Array, Array]:
        """Predictions and deviations, each of shape (N,); arguments as those of `scores`."""
        scores = self.scores(gates, rows)
        if scores.shape[1] == 1:
            return unlink(self.link, scores[:, 0]), np.zeros(len(scores))
        return off_link(self.link, scores[:, 0], np.exp(scores[:, 1].clip(*DOUBT)))

    def predict(self, x: Array, lengths: NDArray[np.int64] | None = None) -> tuple[Array, Array]:
        """Predictions and deviations, each of shape (N,).

        Args:
            x: Layers, shape (N, L, F), zeros after the output layer.
            lengths: Layers with the output layer, shape (N,); counted where they are not given.
        """
        lengths = lengths_of(x) if lengths is None else lengths
        parts = range(0, max(len(x), 1), CHUNK)
        chunks = [self._predict(x[i : i + CHUNK], lengths[i : i + CHUNK]) for i in parts]
        return np.concatenate([c[0] for c in chunks]), np.concatenate([c[1] for c in chunks])

    def _predict(self, x: Array, lengths: NDArray[np.int64]) -> tuple[Array, Array]:
        there = np.arange(x.shape[1]) < lengths[:, None]
        rows = np.zeros(there.shape, dtype=np.int64)
        rows[there] = np.arange(1, there.sum() + 1)
        return self.both(self.no_layer().joined(self.gates(x[there])), rows)

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[Any]], options: Mapping[str, Any]) -> Self:
        """Checks what was read from a file.

        Args:
            arrays: As `arrays` gives them, of any float type.
            options: As `options` gives them.

        Raises:
            SurrogateFileError: If arrays are missing, do not fit together, are not finite, or hold
                weights with which sums would not be exact.
        """
        values = checked(arrays, cls.names(), options.get("link"))
        for name in ("read", "first", "out"):
            if values[name].ndim != 2 or len(values[name]) > WIDEST:
                raise SurrogateFileError(f"{name} has shape {values[name].shape}")
        features, inner = values["read"].shape
        (width, hidden), outputs = values["first"].shape, values["out"].shape[1]
        for name, shape in {
            "centre": (features,),
            "scale": (features,),
            "gate": (inner, 2 * width),
            "second": (hidden, hidden),
            "out": (hidden, min(outputs, 2)),
        }.items():
            check_shape(values, name, shape)
        for name in MATRICES:
            check_shape(values, f"{name}_bias", values[name].shape[1:])
            _check_weights(name, values[name], values[f"{name}_bias"])
        return cls(**values, link=options["link"])


MATRICES = ("read", "gate", "first", "second", "out")


class GateTable:
    """Gates of the layers of a table, computed when they are first asked for.

    Copies begin empty: another process numbers layers as it meets them.

    Attributes:
        table: Whose layers it knows; None before it is asked for the first time.

    Args:
        model: Whose gates.
    """

    def __init__(self, model: PooledNetwork) -> None:
        self.model = model
        self.table: LayerTable | None = None
        self._start()

    def _start(self) -> None:
        nothing = self.model.no_layer()
        self._keep, self._add = GrowingRows(nothing.keep), GrowingRows(nothing.add)
        self._gates = nothing

    def __reduce__(self) -> tuple[type[GateTable], tuple[PooledNetwork]]:
        """Copies and pickles hold the model alone."""
        return GateTable, (self.model,)

    def of(self, table: LayerTable) -> Gates:
        """The gates of all layers that a table has met; row 0 is no layer."""
        if table is not self.table:
            self.table = table
            self._start()
        layers = table.described()
        if len(layers) > len(self._gates):
            new = self.model.gates(layers[len(self._gates) :])
            self._keep.append(new.keep)
            self._add.append(new.add)
            self._gates = Gates(self._keep.rows, self._add.rows)
        return self._gates


def _active(hidden: Array) -> Array:
    """What stands between two matrices: relu up to `LIMIT`, in whole grid steps; in place."""
    np.rint(hidden, out=hidden)
    np.maximum(hidden, 0.0, out=hidden)
    return np.minimum(hidden, LIMIT * GRID, out=hidden)


def _check_weights(name: str, weight: Array, bias: Array) -> None:
    for values in (weight, bias):
        if len(weight) > WIDEST or (on_grid(values, LARGEST) != values).any():
            raise SurrogateFileError(
                f"{name} has {len(weight)} rows, or a weight that is no multiple of 1 / {GRID:g} "
                f"within ± {LARGEST:g}"
            )
