"""Full int8 quantisation: which scale every tensor gets, and the integers of the weights.

The rules are those of the TensorFlow Lite quantisation specification: activations have one scale
and a zero point, convolutions one symmetric scale a channel, dense layers one symmetric scale, and
a bias counts in steps of input scale times weight scale.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from emnas_gym.graph import WEIGHTED, Node
from hardware.folding import Linear
from hardware.legalize import FIXED_SCALE, SAME_SCALE, scale_groups
from hardware.program import Array, Quantization, Tensor

LOWEST, HIGHEST = -128, 127
PROBABILITY = Quantization.of(1 / 256, LOWEST)  # what kernels demand of sigmoid and softmax
DEAD_RANGE = 1e-5  # less carries nothing, and relu6's bound must fit 32 bits in its steps
MOST_STEPS = 64.0  # output steps that one step of the inputs may make: more cannot be resolved
LEAST_STEPS = 2.0**-20  # the finest product kernels can still shift into the output's steps
BIAS_LIMIT = 2.0**30  # leaves the accumulator room for the sum


def quantize_activations(
    nodes: Sequence[Node], ranges: Array, linears: Mapping[str, Linear]
) -> list[Quantization]:
    """Scale and zero point of every node's output.

    Args:
        nodes: Of a graph made by `hardware.legalize.requantize`.
        ranges: Least and largest value of each node's output, ``quantize`` nodes left out, (n, 2).
        linears: Folded kernels by node name.
    """
    groups = scale_groups(nodes)
    bounds = _group_bounds(nodes, groups, ranges)
    for node, group in zip(nodes, groups, strict=True):
        if node.op in FIXED_SCALE:
            bounds[group] = 0.0, PROBABILITY.scale * (HIGHEST - LOWEST)
    _widen(nodes, groups, bounds, linears)
    return [from_range(*bounds[group]) for group in groups]


def from_range(low: float, high: float) -> Quantization:
    """Scale and zero point of values from ``low`` to ``high``; 0 is always exact."""
    low, high = min(low, 0.0), max(high, 0.0)
    if high - low < DEAD_RANGE:
        return Quantization.of(1.0, 0)
    scale = float(np.float32((high - low) / (HIGHEST - LOWEST)))
    zero_point = round(LOWEST - low / scale)
    return Quantization.of(scale, min(max(zero_point, LOWEST), HIGHEST))


def quantize_linear(
    linear: Linear, per_channel: bool, input_scale: float, output_scale: float
) -> tuple[Tensor, Tensor]:
    """The integers of a kernel and of its bias.

    A channel whose weights are all zero, or tiny beside its bias, gets a scale at which the bias
    still fits 32 bits and the product with the input scale can still be shifted into place.

    Args:
        linear: Folded kernel and bias.
        per_channel: One scale a channel instead of one for all.
        input_scale: Scale of the input.
        output_scale: Scale of the output.
    """
    peaks, biases = linear.peaks.astype(np.float64), np.abs(linear.bias).astype(np.float64)
    if not per_channel:
        peaks, biases = peaks.max(keepdims=True), biases.max(keepdims=True)
    scales = np.maximum(peaks / HIGHEST, biases / (input_scale * BIAS_LIMIT))
    scales = np.maximum(scales, LEAST_STEPS * output_scale / input_scale).astype(np.float32)
    steps = scales
    if per_channel:
        steps = np.expand_dims(scales, [i for i in range(linear.kernel.ndim) if i != linear.axis])
    kernel = np.clip(np.rint(linear.kernel / steps), -HIGHEST, HIGHEST).astype(np.int8)
    bias_scales = (scales * np.float32(input_scale)).astype(np.float32)
    bias = np.rint(linear.bias.astype(np.float64) / bias_scales).astype(np.int32)
    axis = linear.axis if per_channel else 0
    return (
        Tensor(kernel.shape, "int8", kernel, Quantization(scales, 0, axis)),
        Tensor(bias.shape, "int32", bias, Quantization(bias_scales)),
    )


def _group_bounds(nodes: Sequence[Node], groups: Sequence[int], ranges: Array) -> Array:
    """Least and largest value of each group, at the index of its first node, (n, 2)."""
    bounds = np.zeros((len(nodes), 2))
    measured = iter(ranges)
    low, high = 0.0, 0.0
    for node, group in zip(nodes, groups, strict=True):
        if node.op != "quantize":
            low, high = next(measured)
        if node.op not in SAME_SCALE:
            bounds[group] = min(bounds[group, 0], low), max(bounds[group, 1], high)
    return bounds


def _widen(
    nodes: Sequence[Node], groups: Sequence[int], bounds: Array, linears: Mapping[str, Linear]
) -> None:
    """Widens ranges that are so narrow that one step of the inputs is more than they hold.

    Such outputs are dead, but kernels have only so many bits to shift a product into their steps.
    Two sweeps, since widening one range may ask for another.
    """
    for _ in range(2):
        for node, group in zip(nodes, groups, strict=True):
            reads = [from_range(*bounds[groups[i]]).scale for i in node.inputs]
            step = math.prod(reads) if node.op == "mul" else max(reads, default=0.0)
            if node.op in WEIGHTED:
                step *= float(linears[node.name].peaks.max()) / HIGHEST
            elif node.op not in ("add", "mul"):
                continue
            span = step * (HIGHEST - LOWEST)
            if bounds[group, 1] - bounds[group, 0] < span / MOST_STEPS:
                bounds[group, 1] = bounds[group, 0] + span
