"""Turns a graph and its weights into operators and tensors, in float32 or int8.

Operators stand in the order of `emnas_gym.operator_order.scheduled`, in both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from emnas_gym.graph import DILATED, WEIGHTED, WINDOWS, LayerGraph, Node
from emnas_gym.memory import plan_arena
from emnas_gym.operator_order import scheduled
from hardware.folding import Linear, check_weights, fold
from hardware.legalize import LegalGraph, legalize, requantize
from hardware.program import Array, Operator, Program, Quantization, Tensor
from hardware.quantization import quantize_activations, quantize_linear

CODES = {
    "conv2d": "CONV_2D",
    "depthwise_conv2d": "DEPTHWISE_CONV_2D",
    "dense": "FULLY_CONNECTED",
    "pad": "PAD",
    "max_pool2d": "MAX_POOL_2D",
    "avg_pool2d": "AVERAGE_POOL_2D",
    "slice": "STRIDED_SLICE",
    "mean": "MEAN",
    "add": "ADD",
    "mul": "MUL",
    "concat": "CONCATENATION",
    "sigmoid": "LOGISTIC",
    "softmax": "SOFTMAX",
    "relu": "RELU",
    "relu6": "RELU6",
    "quantize": "QUANTIZE",
}
ACTIVATIONS = {"none": "NONE", "relu": "RELU", "relu6": "RELU6"}


def lower_float(graph: LayerGraph, weights: Mapping[str, Array]) -> Program:
    """Lowers a graph to float32 operators.

    Args:
        graph: Any graph; training-only operations are dropped.
        weights: Arrays with the names and shapes of `LayerGraph.weight_shapes`.

    Raises:
        WeightsError: If weights are missing, of another shape or not finite.
    """
    deployed = scheduled(graph)
    legal = legalize(deployed)
    return _lower(legal, _Float32(_folded(deployed, weights)), [-1] * len(deployed.nodes))


def lower_int8(graph: LayerGraph, weights: Mapping[str, Array], ranges: Array) -> Program:
    """Lowers a graph to int8 operators, with the arena plan of `emnas_gym.memory`.

    Args:
        graph: Any graph; training-only operations are dropped.
        weights: Arrays with the names and shapes of `LayerGraph.weight_shapes`.
        ranges: Least and largest value of each activation of the float program, (n, 2).

    Raises:
        WeightsError: If weights are missing, of another shape or not finite.
    """
    deployed = scheduled(graph)
    linears = _folded(deployed, weights)
    legal = requantize(legalize(deployed))
    quantizations = quantize_activations(legal.nodes, ranges, linears)
    plan = plan_arena(deployed)
    return _lower(legal, _Int8(linears, quantizations), plan.offsets)


class _Numbers(ABC):
    """How activations and weights are stored."""

    def __init__(self, linears: Mapping[str, Linear]) -> None:
        self.linears = linears

    @abstractmethod
    def activation(self, index: int, shape: tuple[int, ...], offset: int) -> Tensor:
        """The output of node ``index``."""

    @abstractmethod
    def constants(self, node: Node, index: int) -> tuple[Tensor, Tensor]:
        """Kernel and bias of a weighted node."""


class _Float32(_Numbers):
    def activation(self, index: int, shape: tuple[int, ...], offset: int) -> Tensor:
        return Tensor(shape, "float32", offset=offset)

    def constants(self, node: Node, index: int) -> tuple[Tensor, Tensor]:
        linear = self.linears[node.name]
        kernel = Tensor(linear.kernel.shape, "float32", linear.kernel)
        return kernel, Tensor(linear.bias.shape, "float32", linear.bias)


class _Int8(_Numbers):
    def __init__(
        self, linears: Mapping[str, Linear], quantizations: Sequence[Quantization]
    ) -> None:
        super().__init__(linears)
        self.quantizations = quantizations

    def activation(self, index: int, shape: tuple[int, ...], offset: int) -> Tensor:
        return Tensor(shape, "int8", None, self.quantizations[index], offset)

    def constants(self, node: Node, index: int) -> tuple[Tensor, Tensor]:
        input_scale = self.quantizations[node.inputs[0]].scale
        output_scale = self.quantizations[index].scale
        per_channel = node.op != "dense"
        return quantize_linear(self.linears[node.name], per_channel, input_scale, output_scale)


def _folded(graph: LayerGraph, weights: Mapping[str, Array]) -> dict[str, Linear]:
    check_weights(graph, weights)
    return {node.name: fold(node, weights) for node in graph if node.op in WEIGHTED}


def _lower(legal: LegalGraph, numbers: _Numbers, offsets: Sequence[int]) -> Program:
    tensors = [
        numbers.activation(i, (1, *node.shape), offsets[origin])
        for i, (node, origin) in enumerate(zip(legal.nodes, legal.origins, strict=True))
    ]
    operators = []
    for i, node in enumerate(legal.nodes[1:], 1):
        inputs = list(node.inputs)
        for constant in _constants(node, i, numbers):
            inputs.append(len(tensors))
            tensors.append(constant)
        operators.append(Operator(CODES[node.op], tuple(inputs), i, _options(node)))
    return Program(tuple(tensors), tuple(operators), len(legal.nodes) - 1)


def _constants(node: Node, index: int, numbers: _Numbers) -> tuple[Tensor, ...]:
    if node.op in WEIGHTED:
        return numbers.constants(node, index)
    if node.op == "pad":
        top, bottom, left, right = node.pads
        paddings = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
        return (Tensor(paddings.shape, "int32", paddings),)
    if node.op == "mean":
        return (Tensor((2,), "int32", np.array([1, 2], np.int32)),)
    if node.op == "slice":
        bounds = (0, *node.begin), (1, *node.end), (1, *node.step)
        return tuple(Tensor((4,), "int32", np.array(bound, np.int32)) for bound in bounds)
    return ()


def _options(node: Node) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if node.op in WINDOWS:
        options["padding"] = node.padding.upper()
        options["strideH"], options["strideW"] = node.stride
    if node.op in DILATED:
        options["dilationHFactor"], options["dilationWFactor"] = node.dilation
    if node.op in ("max_pool2d", "avg_pool2d"):
        options["filterHeight"], options["filterWidth"] = node.kernel
    if node.op == "depthwise_conv2d":
        options["depthMultiplier"] = 1
    if node.op in WINDOWS | {"dense", "add", "mul"}:
        options["fusedActivationFunction"] = ACTIVATIONS[node.activation]
    if node.op == "concat":
        options["axis"] = len(node.shape)
    if node.op == "mean":
        options["keepDims"] = True
    if node.op == "slice":
        options["endMask"] = 1  # of the batch all is taken: calibration runs several images
    if node.op == "softmax":
        options["beta"] = 1.0
    return options
