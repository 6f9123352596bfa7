"""Writes a `hardware.program.Program` as a .tflite file.

The bytes of all constants are written first, then all zero points, then everything else, whose
alignment is four. So what one operator adds to the file does not depend on its neighbours, and
`emnas_gym.costs` can foretell the size.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from hardware.extras import load
from hardware.program import Array, Operator, Program, Quantization, Tensor

SCHEMA = "ai_edge_litert.schema_py_generated"
IDENTIFIER = b"TFL3"
SCHEMA_VERSION = 3
DATA_ALIGNMENT = 16  # the schema asks for it; controllers read weights straight out of the file
OFFLINE_PLAN = "OfflineMemoryAllocation"  # the metadata in which TensorFlow Lite Micro finds a plan
PLAN_VERSION = 1
INT8_VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 4}  # 2 for all others
OPTIONS = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "AVERAGE_POOL_2D": "Pool2DOptions",
    "ADD": "AddOptions",
    "MUL": "MulOptions",
    "CONCATENATION": "ConcatenationOptions",
    "MEAN": "ReducerOptions",
    "SOFTMAX": "SoftmaxOptions",
    "STRIDED_SLICE": "StridedSliceOptions",
}


def write_tflite(program: Program) -> bytes:
    """The bytes of a .tflite file.

    Args:
        program: Tensors with an ``offset`` make the file carry an arena plan.

    Raises:
        BackendMissing: If ai-edge-litert or flatbuffers is not installed.
    """
    return _Writer(program).write()


def _aligned_builder() -> Any:  # noqa: ANN401
    """A builder whose tables all start at multiples of four, so that like ones take like space."""
    base: Any = load("flatbuffers").Builder

    class AlignedBuilder(base):  # type: ignore[misc]
        def StartObject(self, fields: int) -> None:  # noqa: N802
            self.Prep(4, 0)
            super().StartObject(fields)

    return AlignedBuilder(1024)


class _Writer:
    """Builds the objects of one file with the schema's object interface."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.schema: Any = load(SCHEMA)
        self.builder = _aligned_builder()
        self.buffers = [self.schema.BufferT()]  # buffer 0 is empty: "no constant"
        self.zero_points: dict[tuple[int, int, int], int] = {}

    def write(self) -> bytes:
        model = self.schema.ModelT()
        model.version = SCHEMA_VERSION
        model.buffers = self.buffers
        model.metadata = self.metadata()
        owners = self.owners()
        tensors = [self.tensor(tensor) for tensor in self.program.tensors]
        for made, tensor, owner in zip(tensors, self.program.tensors, owners, strict=True):
            if tensor.quantization is not None:
                made.quantization = self.quantization(tensor.quantization, owner)
        model.operatorCodes = self.operator_codes()
        model.subgraphs = [self.subgraph(tensors)]
        self.builder.Finish(model.Pack(self.builder), IDENTIFIER)
        return bytes(self.builder.Output())

    def owners(self) -> list[int]:
        """For each tensor whom it may share zero points with: the constants of one operator."""
        owners = [-1 - i for i in range(len(self.program.tensors))]
        for i, operator in enumerate(self.program.operators):
            for j in operator.inputs[1:]:
                if self.program.tensors[j].data is not None:
                    owners[j] = i
        return owners

    def tensor(self, tensor: Tensor) -> Any:  # noqa: ANN401
        made = self.schema.TensorT()
        made.shape = np.array(tensor.shape, np.int32)
        made.type = getattr(self.schema.TensorType, tensor.dtype.upper())
        made.buffer = 0 if tensor.data is None else self.constant(tensor.data)
        return made

    def constant(self, data: Array) -> int:
        """Writes the bytes of a constant and returns the index of its buffer."""
        raw = np.ascontiguousarray(data).tobytes()
        self.builder.StartVector(1, len(raw), DATA_ALIGNMENT)
        head = self.builder.Head() - len(raw)
        self.builder.head = head
        self.builder.Bytes[head : head + len(raw)] = raw
        written = self.builder.EndVector()
        buffer = self.schema.BufferT()

        def pack(builder: Any) -> Any:  # noqa: ANN401
            self.schema.BufferStart(builder)
            self.schema.BufferAddData(builder, written)
            return self.schema.BufferEnd(builder)

        buffer.Pack = pack  # the generated one ignores the alignment
        self.buffers.append(buffer)
        return len(self.buffers) - 1

    def quantization(self, quantization: Quantization, owner: int) -> Any:  # noqa: ANN401
        count = len(quantization.scales)
        key = (owner, count, quantization.zero_point)
        if key not in self.zero_points:
            values = np.full(count, quantization.zero_point, np.int64)
            self.zero_points[key] = self.builder.CreateNumpyVector(values)
        written = self.zero_points[key]
        made = self.schema.QuantizationParametersT()

        def pack(builder: Any) -> Any:  # noqa: ANN401
            scale = builder.CreateNumpyVector(quantization.scales)
            self.schema.QuantizationParametersStart(builder)
            self.schema.QuantizationParametersAddScale(builder, scale)
            self.schema.QuantizationParametersAddZeroPoint(builder, written)
            self.schema.QuantizationParametersAddQuantizedDimension(builder, quantization.axis)
            return self.schema.QuantizationParametersEnd(builder)

        made.Pack = pack  # kernel and bias point to the same zero points
        return made

    def metadata(self) -> list[Any] | None:
        """The arena plan: version, subgraph, number of tensors, then an offset for each."""
        offsets = [tensor.offset for tensor in self.program.tensors]
        if max(offsets) < 0:
            return None
        plan = np.array([PLAN_VERSION, 0, len(offsets), *offsets], np.int32)
        entry = self.schema.MetadataT()
        entry.name = OFFLINE_PLAN
        entry.buffer = self.constant(plan)
        return [entry]

    def operator_codes(self) -> list[Any]:
        is_int8 = any(tensor.dtype == "int8" for tensor in self.program.tensors)
        codes = []
        for name in self.code_names():
            code = self.schema.OperatorCodeT()
            code.builtinCode = getattr(self.schema.BuiltinOperator, name)
            code.deprecatedBuiltinCode = min(code.builtinCode, 127)
            code.version = INT8_VERSIONS.get(name, 2) if is_int8 else 1
            codes.append(code)
        return codes

    def code_names(self) -> list[str]:
        """Each code once. Index 0 is not stored, so it goes to softmax, of which there is one."""
        names = dict.fromkeys(operator.code for operator in self.program.operators)
        return sorted(names, key=lambda name: name != "SOFTMAX")

    def subgraph(self, tensors: list[Any]) -> Any:  # noqa: ANN401
        index_of = {name: i for i, name in enumerate(self.code_names())}
        for i, tensor in enumerate(tensors):
            tensor.name = np.base_repr(i, 36).lower()  # converters key tensors by their names
        graph = self.schema.SubGraphT()
        graph.tensors = tensors
        graph.inputs = np.array([0], np.int32)
        graph.outputs = np.array([self.program.output], np.int32)
        graph.operators = [self.operator(op, index_of[op.code]) for op in self.program.operators]
        return graph

    def operator(self, operator: Operator, code: int) -> Any:  # noqa: ANN401
        made = self.schema.OperatorT()
        made.opcodeIndex = code
        made.inputs = np.array(operator.inputs, np.int32)
        made.outputs = np.array([operator.output], np.int32)
        if operator.code in OPTIONS:
            table = OPTIONS[operator.code]
            made.builtinOptionsType = getattr(self.schema.BuiltinOptions, table)
            made.builtinOptions = self.options(table, operator)
        return made

    def options(self, table: str, operator: Operator) -> Any:  # noqa: ANN401
        made = getattr(self.schema, f"{table}T")()
        enums = {
            "padding": self.schema.Padding,
            "fusedActivationFunction": self.schema.ActivationFunctionType,
        }
        for name, value in operator.options.items():
            setattr(made, name, getattr(enums[name], value) if name in enums else value)
        return made
