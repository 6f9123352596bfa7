"""Writes slices that step over channels so that an NPU takes them.

Vela hands a STRIDED_SLICE with a step along channels to the CPU. A 1×1 convolution whose weights
pick the channels, each 1 at a scale of 1, computes the same to the bit, and is what an NPU does
best: the same channels taken from a map that is read as (H, W · C / s, s) cost four times as many
cycles. ShuffleNet's units are made of such slices.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hardware.extras import load
from hardware.tflite_writer import IDENTIFIER, INT8_VERSIONS, SCHEMA

CHANNELS = 3  # axis of an activation, the batch being the first
CODE = "CONV_2D"


def without_channel_steps(content: bytes) -> bytes:
    """The same network, with convolutions that pick channels instead of steps along them.

    Args:
        content: An int8 .tflite file of ours.

    Returns:
        A file that computes the same, to the bit; the file itself if there is nothing to do.
    """
    schema: Any = load(SCHEMA)
    model = schema.Model.GetRootAs(content, 0)
    codes = [model.OperatorCodes(i).BuiltinCode() for i in range(model.OperatorCodesLength())]
    if schema.BuiltinOperator.STRIDED_SLICE not in codes or model.SubgraphsLength() != 1:
        return content
    return _Rewriter(schema, schema.ModelT.InitFromObj(model)).content() or content


class _Rewriter:
    """Rewrites one file with the schema's object interface."""

    def __init__(self, schema: Any, model: Any) -> None:  # noqa: ANN401
        self.schema, self.model, self.graph = schema, model, model.subgraphs[0]
        self.codes = [code.builtinCode for code in model.operatorCodes]

    def content(self) -> bytes | None:
        """The bytes of the new file; None if no slice steps over channels."""
        operators = [made for operator in self.graph.operators for made in self._told(operator)]
        if all(new is old for new, old in zip(operators, self.graph.operators, strict=False)):
            return None
        self.graph.operators = operators
        self.model.metadata = None  # the plan of the arena knew other tensors; Vela makes its own
        builder: Any = load("flatbuffers").Builder(1024)
        builder.Finish(self.model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())

    def _told(self, operator: Any) -> list[Any]:  # noqa: ANN401
        """An operator; a slice of int8 that steps over channels as a choice of them, then rows."""
        if self.codes[operator.opcodeIndex] != self.schema.BuiltinOperator.STRIDED_SLICE:
            return [operator]
        source, target = (self.graph.tensors[i] for i in (operator.inputs[0], operator.outputs[0]))
        begin, end, step = (self._indices(i) for i in operator.inputs[1:4])
        if step[CHANNELS] == 1 or source.type != self.schema.TensorType.INT8:
            return [operator]
        count = int(target.shape[CHANNELS])
        taken = begin[CHANNELS] + step[CHANNELS] * np.arange(count)
        if list(source.shape[:CHANNELS]) == list(target.shape[:CHANNELS]):
            return [self._pick(operator.inputs[0], taken, operator.outputs[0])]
        between = self._like(operator.outputs[0], [*source.shape[:CHANNELS], count])
        picked = self._pick(operator.inputs[0], taken, between)
        bounds = [*begin[:CHANNELS], 0], [*end[:CHANNELS], count], [*step[:CHANNELS], 1]
        places = [self._constant(np.array(bound, np.int32)) for bound in bounds]
        operator.inputs = np.array([between, *places], np.int32)
        return [picked, operator]

    def _pick(self, source: int, taken: NDArray[np.int64], target: int) -> Any:  # noqa: ANN401
        """A convolution that takes channels of one tensor to another."""
        read = self.graph.tensors[source]
        count = len(taken)
        kernel = np.zeros((count, 1, 1, int(read.shape[CHANNELS])), np.int8)
        kernel[np.arange(count), 0, 0, taken] = 1
        scale = float(read.quantization.scale[0])
        constants = self._constant(kernel, 1.0), self._constant(np.zeros(count, np.int32), scale)
        made, options = self.schema.OperatorT(), self.schema.Conv2DOptionsT()
        options.padding, options.strideH, options.strideW = self.schema.Padding.VALID, 1, 1
        made.opcodeIndex = self._code()
        made.inputs = np.array([source, *constants], np.int32)
        made.outputs = np.array([target], np.int32)
        made.builtinOptionsType = self.schema.BuiltinOptions.Conv2DOptions
        made.builtinOptions = options
        return made

    def _indices(self, tensor: int) -> list[int]:
        raw = self.model.buffers[self.graph.tensors[tensor].buffer].data
        found: list[int] = np.frombuffer(bytes(raw), np.int32).tolist()
        return found

    def _like(self, tensor: int, shape: list[int]) -> int:
        """Adds an activation of the same scale in another shape, and returns its index."""
        known, made = self.graph.tensors[tensor], self.schema.TensorT()
        made.type, made.quantization = known.type, known.quantization
        made.shape = np.array(shape, np.int32)
        return self._add(made)

    def _constant(self, values: NDArray[Any], scale: float | None = None) -> int:
        """Adds a constant, all channels with the same scale, and returns its index."""
        made, buffer = self.schema.TensorT(), self.schema.BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        made.shape = np.array(values.shape, np.int32)
        made.type = getattr(self.schema.TensorType, values.dtype.name.upper())
        made.buffer = len(self.model.buffers) - 1
        if scale is not None:
            made.quantization = self.schema.QuantizationParametersT()
            made.quantization.scale = np.full(len(values), scale, np.float32)
            made.quantization.zeroPoint = np.zeros(len(values), np.int64)
        return self._add(made)

    def _add(self, tensor: Any) -> int:  # noqa: ANN401
        tensor.name = f"c{len(self.graph.tensors)}"
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _code(self) -> int:
        """The index of convolutions among the operators of the file."""
        builtin = getattr(self.schema.BuiltinOperator, CODE)
        if builtin not in self.codes:
            code = self.schema.OperatorCodeT()
            code.builtinCode = code.deprecatedBuiltinCode = builtin
            code.version = INT8_VERSIONS[CODE]
            self.model.operatorCodes.append(code)
            self.codes.append(builtin)
        return self.codes.index(builtin)
