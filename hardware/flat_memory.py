"""Where our firmware keeps its activations: operators work in place wherever they can.

TensorFlow Lite Micro gives every operator an output of its own. Here an operator that reads each
element once, and for the last time, writes over it, and so does a depthwise convolution that keeps
the shape of its map: channel by channel, with one plane of scratch (Lin et al., 2020, "MCUNet",
section 3.2, in-place depthwise convolution: N + 1 planes instead of 2 N).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from emnas_gym.memory import align
from hardware.program import Operator, Program, Tensor

ELEMENTWISE = frozenset({"LOGISTIC", "RELU", "RELU6", "QUANTIZE"})
PAIRWISE = frozenset({"ADD", "MUL"})


@dataclass(frozen=True)
class FlatPlan:
    """Places in the firmware's arena.

    Attributes:
        offsets: Byte offset of each activation, in the order of the program's tensors.
        planes: Byte offset of the scratch plane of each operator that needs one, by its number.
        arena_bytes: Size of the arena.
    """

    offsets: tuple[int, ...]
    planes: dict[int, int]
    arena_bytes: int


@dataclass
class _Buffer:
    """Memory that activations take one after the other, or a scratch plane."""

    size: int
    first: int  # operator that writes it first; -1 for the network's input
    last: int  # operator that reads it last
    offset: int = 0


def plan_flat(program: Program) -> FlatPlan:
    """Plans a program; never worse than the plan that it carries.

    Args:
        program: An int8 program with a place in the arena for every activation.
    """
    activations = [tensor for tensor in program.tensors if tensor.data is None]
    last = _last_uses(program, len(activations))
    buffers = [_Buffer(align(_size(activations[0])), -1, last[0])]
    home = [0] * len(activations)  # buffer of each activation
    planes: dict[int, _Buffer] = {}
    for number, operator in enumerate(program.operators):
        source = _overwritten(operator, program.tensors, last, number, home)
        out = operator.output
        if source is None:
            home[out] = len(buffers)
            buffers.append(_Buffer(align(_size(activations[out])), number, last[out]))
            continue
        home[out] = home[source]
        buffers[home[out]].last = last[out]
        if operator.code == "DEPTHWISE_CONV_2D":
            planes[number] = _Buffer(align(_plane(activations[out])), number, number)
    arena, carried = _place([*buffers, *planes.values()]), carried_plan(program)
    if arena >= carried.arena_bytes:
        return carried
    offsets = tuple(buffers[index].offset for index in home)
    return FlatPlan(offsets, {n: plane.offset for n, plane in planes.items()}, arena)


def carried_plan(program: Program) -> FlatPlan:
    """The plan that the program carries: that of TensorFlow Lite Micro."""
    activations = [tensor for tensor in program.tensors if tensor.data is None]
    arena = max(tensor.offset + align(_size(tensor)) for tensor in activations)
    return FlatPlan(tuple(tensor.offset for tensor in activations), {}, arena)


def placed(program: Program, plan: FlatPlan) -> Program:
    """The program with the plan's offsets."""
    count = len(plan.offsets)
    moved = [
        replace(tensor, offset=offset)
        for tensor, offset in zip(program.tensors[:count], plan.offsets, strict=True)
    ]
    return replace(program, tensors=(*moved, *program.tensors[count:]))


def _last_uses(program: Program, count: int) -> list[int]:
    """For each activation the number of the operator that reads it last."""
    last = [-1] * count
    for number, operator in enumerate(program.operators):
        for index in operator.inputs:
            if index < count:
                last[index] = number
        last[operator.output] = max(last[operator.output], number)
    last[program.output] = len(program.operators)
    return last


def _overwritten(
    operator: Operator,
    tensors: Sequence[Tensor],
    last: Sequence[int],
    number: int,
    home: Sequence[int],
) -> int | None:
    """The input whose memory the output may take; None where it needs its own."""
    candidates: Sequence[int] = ()
    if operator.code in ELEMENTWISE or _keeps_shape(operator, tensors):
        candidates = operator.inputs[:1]
    elif operator.code in PAIRWISE:
        candidates = operator.inputs[:2]
    size = _size(tensors[operator.output])
    for index in candidates:
        if last[index] == number and _size(tensors[index]) == size:
            return index
    return None


def _keeps_shape(operator: Operator, tensors: Sequence[Tensor]) -> bool:
    """Whether a depthwise convolution can work plane by plane in its own map."""
    options = operator.options
    return (
        operator.code == "DEPTHWISE_CONV_2D"
        and options.get("strideH", 1) == options.get("strideW", 1) == 1
        and tensors[operator.inputs[0]].shape == tensors[operator.output].shape
    )


def _place(buffers: Sequence[_Buffer]) -> int:
    """Places buffers, the largest first, each as low as it can lie; returns the arena's size."""
    settled: list[_Buffer] = []
    for buffer in sorted(buffers, key=lambda b: (-b.size, -b.first)):
        offset = 0
        for other in sorted(settled, key=lambda b: b.offset):
            if other.last < buffer.first or buffer.last < other.first:
                continue
            if other.offset - offset >= buffer.size:
                break
            offset = max(offset, other.offset + other.size)
        buffer.offset = offset
        settled.append(buffer)
    return max(buffer.offset + buffer.size for buffer in buffers)


def _size(tensor: Tensor) -> int:
    return math.prod(tensor.shape)


def _plane(tensor: Tensor) -> int:
    return tensor.shape[1] * tensor.shape[2]
