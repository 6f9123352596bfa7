"""Steps of a network on a Kendryte K210: what they are, and the memory that they need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from emnas_gym.graph import GraphBuilder, Shape
from emnas_gym.layers import LayerSpec

Sides = tuple[tuple[int, int], tuple[int, int]]  # (top, bottom), (left, right)
NONE: Sides = ((0, 0), (0, 0))
WINDOWS = ("conv2d", "depthwise_conv2d")
FLOAT_AND_BYTE = 5  # bytes of an element that is held as both


@dataclass(frozen=True, slots=True)
class Step:
    """One step on maps (height, width, channels).

    Attributes:
        kind: ``"kpu"`` (a convolution there), ``"conv"`` (one by the CPU), ``"pad"``, ``"slice"``,
            or the name of another operation.
        reads: Shape of what it reads.
        gives: Shape of what it returns.
        kernel: Side of the window of a convolution.
        stride: Step of ``conv`` and ``slice``; that of ``kpu`` is 1.
        depthwise: Whether each channel is a convolution of its own.
        pooled: Whether ``kpu`` keeps every second pixel only, which costs nothing.
        pads: Zeros around the map for ``conv`` and ``pad``; a negative number cuts pixels off.
        begin: First row and column that ``slice`` takes.
        end: One beyond the last row and column that it may take.
    """

    kind: str
    reads: Shape
    gives: Shape
    kernel: int = 1
    stride: int = 1
    depthwise: bool = False
    pooled: bool = False
    pads: Sides = NONE
    begin: tuple[int, int] = (0, 0)
    end: tuple[int, int] = (0, 0)


Steps = tuple[Step, ...]


@lru_cache(maxsize=1 << 15)
def layer_steps(spec: LayerSpec, shape: Shape, classes: int) -> tuple[Shape, Steps]:
    """One layer before the compiler has seen it, and the shape that it returns.

    Raises:
        ShapeError: If the layer does not fit the shape.
    """
    builder = GraphBuilder(shape)
    spec.lower(builder, classes)
    graph = builder.build().deployed()
    steps: list[Step] = []
    for node in graph.nodes[1:]:
        reads = graph.in_shapes(node)[0]
        window = node.op in WINDOWS
        top, bottom, left, right = node.pads
        steps.append(
            Step(
                "conv" if window else node.op,
                reads,
                node.shape,
                node.kernel[0],
                node.stride[0],
                node.op == "depthwise_conv2d",
                pads=((top, bottom), (left, right)),
            )
        )
    return builder.shape, tuple(steps)


def absorb_pads(steps: Sequence[Step]) -> Steps:
    """Zeros of their own are added to those of the convolution behind them, wherever it runs."""
    found: list[Step] = []
    for step in steps:
        last = found[-1] if found else None
        if last is not None and last.kind == "pad" and step.kind in ("pad", "conv"):
            found.pop()
            step = replace(step, reads=last.reads, pads=sum_of(last.pads, step.pads))
        found.append(step)
    return tuple(found)


def fits(shape: Shape) -> bool:
    """Whether the KPU takes a map (height, width, channels)."""
    height, width, channels = shape
    return 4 <= height <= 256 and 4 <= width <= 512 and channels <= 1024


def sum_of(a: Sides, b: Sides) -> Sides:
    """Zeros of two pads, side by side."""
    (t, u), (v, w) = a
    return (t + b[0][0], u + b[0][1]), (v + b[1][0], w + b[1][1])


def pad(reads: Shape, pads: Sides) -> Step:
    """Zeros around a map; negative numbers cut pixels off."""
    height, width, channels = reads
    gives = (height + sum(pads[0]), width + sum(pads[1]), channels)
    return Step("pad", reads, gives, pads=pads)


def every(reads: Shape, stride: int, begin: tuple[int, int], end: tuple[int, int]) -> Step:
    """Every ``stride``-th row and column of a map, from ``begin`` to before ``end``."""
    height, width = (-(-(e - b) // stride) for b, e in zip(begin, end, strict=True))
    gives = (height, width, reads[2])
    return Step("slice", reads, gives, stride=stride, begin=begin, end=end)


def on_kpu(like: Step, reads: Shape, pooled: bool) -> Step:
    """A convolution like another one, in the form of the KPU, on a map of its own."""
    halves = 2 if pooled else 1
    gives = (reads[0] // halves, reads[1] // halves, like.gives[2])
    return Step("kpu", reads, gives, like.kernel, 1, like.depthwise, pooled)


def working_memory(steps: Sequence[Step]) -> int:
    """Bytes of main memory that the steps of a chain without sigmoids and dense layers need."""
    most = 0
    for i, step in enumerate(steps):
        size, result = math.prod(step.reads), math.prod(step.gives)
        if step.kind == "kpu":
            downloaded = i + 1 == len(steps) or steps[i + 1].kind != "kpu"
            most = max(most, result if downloaded else 0)
        elif step.kind == "mean":
            most = max(most, FLOAT_AND_BYTE * size)
        elif step.kind in ("conv", "pad", "slice"):
            most = max(most, size + result)
    return most
