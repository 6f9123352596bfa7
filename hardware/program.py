"""A network as a flat list of TensorFlow Lite operators, before any byte is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Quantization:
    """How integers stand for real numbers: real = scale · (integer - zero point).

    Attributes:
        scales: One scale, or one a channel; float32, (1,) or (channels,).
        zero_point: The integer that stands for 0.
        axis: The axis of the channels.
    """

    scales: Array
    zero_point: int = 0
    axis: int = 0

    @classmethod
    def of(cls, scale: float, zero_point: int = 0) -> Quantization:
        """One scale for the whole tensor."""
        return cls(np.array([scale], np.float32), zero_point)

    @property
    def scale(self) -> float:
        """The scale of a tensor that has only one."""
        return float(self.scales[0])


@dataclass(frozen=True)
class Tensor:
    """One tensor of the file.

    Attributes:
        shape: With the batch, which is always 1.
        dtype: ``"float32"``, ``"int8"``, ``"int32"``, or ``"uint8"`` at the ends of a network.
        data: Values of a constant; None for an activation.
        quantization: None for float32 and for indices.
        offset: Byte offset in the arena; -1 for constants and for what is not planned.
    """

    shape: tuple[int, ...]
    dtype: str
    data: Array | None = None
    quantization: Quantization | None = None
    offset: int = -1


@dataclass(frozen=True)
class Operator:
    """One operator of the file.

    Attributes:
        code: Name in the schema, e.g. ``"CONV_2D"``.
        inputs: Indices of tensors.
        output: Index of a tensor.
        options: Values of the operator's option table, by their names in the schema.
    """

    code: str
    inputs: tuple[int, ...]
    output: int
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Program:
    """Tensors and operators of one network; activations come first, then constants.

    Attributes:
        tensors: All tensors; tensor i is the output of node i of the lowered graph.
        operators: In the order in which they run.
        output: Index of the output tensor; the input is tensor 0.
    """

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    output: int
