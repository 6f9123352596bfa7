"""Gives an int8 program other numbers at its ends: uint8 or float32, converted inside the file.

Some runtimes hand a network pixels as they come from the camera, or know no signed bytes at all.
"""

from __future__ import annotations

import math
from dataclasses import replace

from emnas_gym.errors import UnknownName
from emnas_gym.memory import align
from hardware.program import Operator, Program, Quantization, Tensor

IO_TYPES = ("int8", "uint8", "float32")
SHIFT = 128  # from int8's zero point to uint8's
FLOAT_BYTES = 4


def with_io(program: Program, dtype: str) -> Program:
    """The same network with an input and an output of another type.

    What it computes does not change: uint8 is int8 + 128 to the bit, and float32 is the real value
    of the integers. A uint8 end lies where the int8 one does, so that the arena does not grow;
    a float one lies beside it.

    Args:
        program: Int8 from end to end.
        dtype: One of `IO_TYPES`.

    Raises:
        UnknownName: If there is no such type.
    """
    if dtype not in IO_TYPES:
        raise UnknownName("type of inputs and outputs", dtype, IO_TYPES)
    if dtype == "int8":
        return program
    count = sum(tensor.data is None for tensor in program.tensors)
    activations, constants = program.tensors[:count], program.tensors[count:]
    first, last = _end(activations[0], dtype), _end(activations[program.output], dtype)
    leave = "QUANTIZE" if dtype == "uint8" else "DEQUANTIZE"
    operators = (
        Operator("QUANTIZE", (0,), 1),
        *(_moved(operator, count) for operator in program.operators),
        Operator(leave, (program.output + 1,), count + 1),
    )
    return Program((first, *activations, last, *constants), operators, count + 1)


def _moved(operator: Operator, count: int) -> Operator:
    """Renumbers tensors: one more stands before the activations, another one after them."""
    inputs = tuple(i + 1 + (i >= count) for i in operator.inputs)
    return replace(operator, inputs=inputs, output=operator.output + 1)


def _end(tensor: Tensor, dtype: str) -> Tensor:
    assert tensor.quantization is not None
    if dtype == "uint8":
        shifted = Quantization(tensor.quantization.scales, tensor.quantization.zero_point + SHIFT)
        return replace(tensor, dtype=dtype, quantization=shifted)
    return replace(tensor, dtype=dtype, quantization=None, offset=_beside(tensor))


def _beside(tensor: Tensor) -> int:
    """A place for the floats: nothing but the integers lives while they do."""
    size = math.prod(tensor.shape)
    if tensor.offset < 0 or FLOAT_BYTES * size <= tensor.offset:
        return min(tensor.offset, 0)
    return tensor.offset + align(size)
