"""Writes an int8 program as the flat file that our firmware runs (`firmware/model.h`).

A microcontroller should not parse a general format, nor do floating-point arithmetic to prepare
itself: here every scale becomes an integer multiplier, every sigmoid a table, every offset a plain
number. The results are those of TensorFlow Lite's reference kernels, to the bit.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from hardware.errors import ModelFileError
from hardware.flat_memory import carried_plan, placed, plan_flat
from hardware.program import Array, Operator, Program, Quantization, Tensor
from hardware.quantization import HIGHEST, LOWEST

MAGIC = 0x31464D45  # "EMF1"
HEADER_WORDS = 10
ALIGNMENT = 16  # of constants
MOST_PARTS = 16  # of one concatenation
MOST_CLASSES = 511  # of one softmax
INTEGER_BITS, STEP_BITS = 5, 26  # of a softmax's differences, before and behind the point
ADD_SHIFT = 20  # bits by which a sum's inputs are raised before they are scaled


CODES = {
    "CONV_2D": 1,
    "DEPTHWISE_CONV_2D": 2,
    "FULLY_CONNECTED": 3,
    "MAX_POOL_2D": 4,
    "AVERAGE_POOL_2D": 5,
    "PAD": 6,
    "ADD": 7,
    "MUL": 8,
    "CONCATENATION": 9,
    "LOGISTIC": 10,
    "SOFTMAX": 11,
    "RELU": 12,
    "RELU6": 12,
    "QUANTIZE": 13,
    "STRIDED_SLICE": 14,
    "MEAN": 16,
}
WEIGH = 15  # a MUL whose second input has one value a channel
DEPTHWISE_IN_PLACE = 17  # over the map that it reads


def write_flat(program: Program, source: bytes = b"", small: bool = False) -> bytes:
    """The bytes of a flat model.

    Args:
        program: An int8 program with a place in the arena for every activation.
        source: The .tflite file of the same program; its CRC-32 goes along, so that what a board
            measured can be traced to what was meant.
        small: Let operators write over what they read wherever they can: less memory than the
            program's own plan asks for, and more instructions where a depthwise convolution does.

    Raises:
        ModelFileError: If the program is not int8, not planned, or has what the firmware has not.
    """
    activations = [tensor for tensor in program.tensors if tensor.data is None]
    if any(tensor.dtype != "int8" or tensor.offset < 0 for tensor in activations):
        raise ModelFileError("the firmware runs int8 programs whose activations have a place")
    plan = plan_flat(program) if small else carried_plan(program)
    program, file = placed(program, plan), _FlatFile(len(program.operators))
    for number, operator in enumerate(program.operators):
        file.add(_record(operator, program.tensors, file, plan.planes.get(number)))
    first, last = program.tensors[0], program.tensors[program.output]
    places = [first.offset, _size(first), last.offset, _size(last)]
    return file.finish(plan.arena_bytes, places, zlib.crc32(source))


def quantized_multiplier(real: float) -> tuple[int, int]:
    """A positive factor as ``significand · 2^(exponent - 31)``, the significand in 31 bits."""
    if real == 0.0:
        return 0, 0
    fraction, exponent = math.frexp(real)
    significand = math.floor(fraction * (1 << 31) + 0.5)
    if significand == 1 << 31:
        significand, exponent = significand // 2, exponent + 1
    return (0, 0) if exponent < -31 else (significand, exponent)


def activation_bounds(activation: str, quantization: Quantization) -> tuple[int, int]:
    """Least and largest integer that a fused activation lets through."""
    low, high = LOWEST, HIGHEST
    if activation != "NONE":
        low = max(low, _quantized(0.0, quantization))
    if activation == "RELU6":
        high = min(high, _quantized(6.0, quantization))
    return low, high


def sigmoid_table(quantization: Quantization) -> Array:
    """The sigmoid of every int8 value, in steps of 1/256 from -128; indexed as uint8, (256,)."""
    integers = np.arange(256).astype(np.uint8).view(np.int8).astype(np.int32)
    scale = np.float32(quantization.scale)
    reals = scale * (integers - quantization.zero_point).astype(np.float32)
    with np.errstate(over="ignore"):
        exponentials = np.array([_exponential(-float(real)) for real in reals]).astype(np.float32)
    shares = np.float32(1.0) / (np.float32(1.0) + exponentials)
    steps = np.floor(shares * np.float32(256.0) + np.float32(0.5)) + LOWEST
    table: Array = np.clip(steps, LOWEST, HIGHEST).astype(np.int8)
    return table


def softmax_scale(quantization: Quantization) -> tuple[int, int, int]:
    """Multiplier of a softmax's differences into steps of 2^-26, and the least that counts.

    Args:
        quantization: Of what the softmax reads.

    Returns:
        Significand, exponent, and the least difference to the largest input, in its steps.
    """
    real = min(quantization.scale * 2.0**STEP_BITS, 2.0**31 - 1)
    significand, exponent = quantized_multiplier(real)
    reach = ((1 << INTEGER_BITS) - 1) * 2.0 ** (STEP_BITS - exponent)
    return significand, exponent, max(-math.floor(reach), -255)


@dataclass(frozen=True)
class _Place:
    """Where a constant lies among the constants."""

    offset: int


_Record = list[int | _Place]


@dataclass
class _FlatFile:
    """Collects records and constants; offsets of constants count from their own beginning."""

    operators: int
    records: list[_Record] = field(default_factory=list)
    constants: bytearray = field(default_factory=bytearray)

    def add(self, record: _Record) -> None:
        """Adds an operator; its second word becomes the record's length."""
        self.records.append([record[0], len(record) + 1, *record[1:]])

    def place(self, data: Array) -> _Place:
        """Puts a constant into the file."""
        self.constants += bytes(-len(self.constants) % ALIGNMENT)
        placed = _Place(len(self.constants))
        self.constants += np.ascontiguousarray(data).tobytes()
        return placed

    def finish(self, arena: int, places: Sequence[int], source: int) -> bytes:
        """The whole file."""
        words = HEADER_WORDS + sum(map(len, self.records))
        start = words * 4 + -words * 4 % ALIGNMENT
        self.constants += bytes(-len(self.constants) % 4)
        length = start + len(self.constants)
        header = struct.pack("<10I", MAGIC, length, self.operators, arena, *places, source, 0)
        body = [
            start + value.offset if isinstance(value, _Place) else value
            for record in self.records
            for value in record
        ]
        packed = header + np.array(body, "<i4").tobytes()
        return packed + bytes(start - len(packed)) + bytes(self.constants)


def _record(
    operator: Operator, tensors: Sequence[Tensor], file: _FlatFile, plane: int | None
) -> _Record:
    if operator.code not in CODES:
        raise ModelFileError(f"the firmware has no operator {operator.code}")
    inputs, output = [tensors[i] for i in operator.inputs], tensors[operator.output]
    weighs = operator.code == "MUL" and inputs[1].shape != output.shape
    code = WEIGH if weighs else CODES[operator.code]
    fields = _FIELDS[operator.code](operator, inputs, output, file)
    return [code, *fields] if plane is None else [DEPTHWISE_IN_PLACE, *fields, plane]


def _weighted(op: Operator, inputs: Sequence[Tensor], output: Tensor, file: _FlatFile) -> _Record:
    source, kernel, bias = inputs
    window = list(kernel.shape[1:3]) if op.code != "FULLY_CONNECTED" else [1, 1]
    shapes = [_map_shape(tensor.shape) for tensor in (source, output)]
    if op.code == "FULLY_CONNECTED":
        shapes = [(1, 1, math.prod(shape)) for shape in shapes]
    sliding = _sliding(op, window, *shapes)
    scales = np.array([quantized_multiplier(real) for real in _factors(inputs, output)])
    constants = [
        _constant(kernel),
        _constant(bias),
        scales[:, 0].astype(np.int32),
        scales[:, 1].astype(np.int32),
    ]
    placed = [file.place(constant) for constant in constants]
    return [*_window(source, output, shapes, window, sliding), *_bounds(op, output), *placed]


def _pool(op: Operator, inputs: Sequence[Tensor], output: Tensor, _: _FlatFile) -> _Record:
    window = [op.options["filterHeight"], op.options["filterWidth"]]
    shapes = [_map_shape(tensor.shape) for tensor in (inputs[0], output)]
    sliding = _sliding(op, window, *shapes)
    return [*_window(inputs[0], output, shapes, window, sliding), *_bounds(op, output)]


def _pad(_op: Operator, inputs: Sequence[Tensor], output: Tensor, _: _FlatFile) -> _Record:
    shapes = [_map_shape(tensor.shape) for tensor in (inputs[0], output)]
    before = [int(value) for value in _constant(inputs[1])[1:3, 0]]
    return [*_window(inputs[0], output, shapes, [1, 1], [1, 1, 1, 1, *before]), LOWEST, HIGHEST]


def _slice(op: Operator, inputs: Sequence[Tensor], output: Tensor, _: _FlatFile) -> _Record:
    begin, _end, step = (_constant(tensor) for tensor in inputs[1:])
    if dict(op.options) != {"endMask": 1} or begin[0] != 0 or step[0] != 1:
        raise ModelFileError(f"the firmware slices one image as we do, not by {dict(op.options)}")
    record: _Record = []
    for tensor in (inputs[0], output):
        record += [*_map_shape(tensor.shape), tensor.offset]
    return [*record, *(int(v) for axis in (1, 2, 3) for v in (begin[axis], step[axis]))]


def _sum(op: Operator, inputs: Sequence[Tensor], output: Tensor, _: _FlatFile) -> _Record:
    if {tensor.shape for tensor in inputs} != {output.shape}:
        raise ModelFileError("the firmware adds maps of one shape")
    twice = 2 * max(_of(tensor).scale for tensor in inputs)
    record: _Record = [_size(output), *(tensor.offset for tensor in inputs), output.offset]
    for tensor in inputs:
        record += [_of(tensor).zero_point, *quantized_multiplier(_of(tensor).scale / twice)]
    last = quantized_multiplier(twice / ((1 << ADD_SHIFT) * _of(output).scale))
    return [*record, _of(output).zero_point, *last, *_bounds(op, output)]


def _product(op: Operator, inputs: Sequence[Tensor], output: Tensor, _: _FlatFile) -> _Record:
    whole, other = inputs
    channels = (*(1,) * (len(output.shape) - 1), output.shape[-1])
    if whole.shape != output.shape or other.shape not in (output.shape, channels):
        raise ModelFileError("the firmware multiplies maps of one shape, or a map and its channels")
    rows = [_size(output) // _size(other)] if other.shape != output.shape else []
    record: _Record = [*rows, _size(other), *(tensor.offset for tensor in inputs), output.offset]
    for tensor in inputs:
        record += [_of(tensor).zero_point, 0, 0]
    factor = np.float32(_of(whole).scale) * np.float32(_of(other).scale)
    last = quantized_multiplier(float(factor / np.float32(_of(output).scale)))
    return [*record, _of(output).zero_point, *last, *_bounds(op, output)]


def _concat(_op: Operator, inputs: Sequence[Tensor], output: Tensor, _: _FlatFile) -> _Record:
    if len(inputs) > MOST_PARTS:
        raise ModelFileError(f"the firmware joins {MOST_PARTS} maps at most, not {len(inputs)}")
    record: _Record = [math.prod(output.shape[:-1]), output.shape[-1], output.offset, len(inputs)]
    for tensor in inputs:
        record += [tensor.shape[-1], tensor.offset]
    return record


def _map(inputs: Sequence[Tensor], output: Tensor) -> list[int]:
    rows, channels = math.prod(output.shape[:-1]), output.shape[-1]
    return [rows, channels, inputs[0].offset, output.offset]


def _sigmoid(_: Operator, inputs: Sequence[Tensor], output: Tensor, file: _FlatFile) -> _Record:
    return [*_map(inputs, output), file.place(sigmoid_table(_of(inputs[0])))]


def _softmax(_op: Operator, inputs: Sequence[Tensor], output: Tensor, _: _FlatFile) -> _Record:
    if output.shape[-1] > MOST_CLASSES:
        raise ModelFileError(f"the firmware's softmax takes {MOST_CLASSES} classes at most")
    return [*_map(inputs, output), *softmax_scale(_of(inputs[0]))]


def _clamp(op: Operator, inputs: Sequence[Tensor], output: Tensor, _: _FlatFile) -> _Record:
    if _of(inputs[0]).scale != _of(output).scale:
        raise ModelFileError(f"the firmware's {op.code} keeps the scale of what it reads")
    return [*_map(inputs, output), *activation_bounds(op.code, _of(output))]


def _mean(op: Operator, inputs: Sequence[Tensor], output: Tensor, _: _FlatFile) -> _Record:
    """The division by the number of pixels is part of the factor, cut off as the reference does."""
    source, axes = inputs
    pixels = math.prod(source.shape[1:-1])
    if sorted(_constant(axes)) != [1, 2] or _size(output) != source.shape[-1]:
        raise ModelFileError(f"the firmware's {op.code} is over the pixels of a map")
    significand, exponent = quantized_multiplier(_of(source).scale / _of(output).scale)
    shift = min(pixels.bit_length() - 1, 31 + exponent)
    factor = (significand << shift) // pixels, exponent - shift
    places = [pixels, source.shape[-1], source.offset, output.offset]
    return [*places, _of(source).zero_point, *factor, _of(output).zero_point]


def _requantize(_op: Operator, inputs: Sequence[Tensor], output: Tensor, _: _FlatFile) -> _Record:
    source, target = _of(inputs[0]), _of(output)
    factor = quantized_multiplier(source.scale / target.scale)
    return [*_map(inputs, output), source.zero_point, *factor, target.zero_point]


_Fields = Callable[[Operator, Sequence[Tensor], Tensor, _FlatFile], _Record]
_FIELDS: dict[str, _Fields] = {
    "CONV_2D": _weighted,
    "DEPTHWISE_CONV_2D": _weighted,
    "FULLY_CONNECTED": _weighted,
    "MAX_POOL_2D": _pool,
    "AVERAGE_POOL_2D": _pool,
    "PAD": _pad,
    "STRIDED_SLICE": _slice,
    "ADD": _sum,
    "MUL": _product,
    "CONCATENATION": _concat,
    "LOGISTIC": _sigmoid,
    "SOFTMAX": _softmax,
    "RELU": _clamp,
    "RELU6": _clamp,
    "QUANTIZE": _requantize,
    "MEAN": _mean,
}


def _window(
    source: Tensor,
    output: Tensor,
    shapes: Sequence[tuple[int, ...]],
    window: Sequence[int],
    sliding: Sequence[int],
) -> _Record:
    places = [*shapes[0], source.offset, *shapes[1], output.offset]
    return [*places, *window, *sliding, _of(source).zero_point, _of(output).zero_point]


def _sliding(
    op: Operator, window: Sequence[int], source: Sequence[int], output: Sequence[int]
) -> list[int]:
    """Stride, dilation, and zeros before the map, each along both axes."""
    stride = [op.options.get(f"stride{axis}", 1) for axis in "HW"]
    dilation = [op.options.get(f"dilation{axis}Factor", 1) for axis in "HW"]
    before = [0, 0]
    if op.options.get("padding") == "SAME":
        for i in (0, 1):
            covered = (output[i] - 1) * stride[i] + (window[i] - 1) * dilation[i] + 1
            before[i] = max(covered - source[i], 0) // 2
    return [*stride, *dilation, *before]


def _factors(inputs: Sequence[Tensor], output: Tensor) -> list[float]:
    """What one step of each channel's sum is worth in steps of the output."""
    source, target = _of(inputs[0]).scale, _of(output).scale
    scales = np.broadcast_to(_of(inputs[1]).scales, output.shape[-1])
    return [source * float(scale) / target for scale in scales]


def _bounds(op: Operator, output: Tensor) -> tuple[int, int]:
    return activation_bounds(op.options.get("fusedActivationFunction", "NONE"), _of(output))


def _of(tensor: Tensor) -> Quantization:
    assert tensor.quantization is not None
    return tensor.quantization


def _constant(tensor: Tensor) -> Array:
    assert tensor.data is not None
    return tensor.data


def _size(tensor: Tensor) -> int:
    return math.prod(tensor.shape)


def _map_shape(shape: Sequence[int]) -> tuple[int, ...]:
    """Height, width, channels of what may be a vector."""
    return tuple(shape[1:]) if len(shape) == 4 else (1, 1, math.prod(shape))


def _quantized(real: float, quantization: Quantization) -> int:
    steps = float(np.float32(real) / np.float32(quantization.scale))
    return quantization.zero_point + math.floor(steps + 0.5)


def _exponential(real: float) -> float:
    return math.exp(real) if real < 700.0 else math.inf
