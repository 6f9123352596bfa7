"""Programs: operators, options, tensors."""

from __future__ import annotations

import numpy as np
from test_hardware_graphs import branching_graphs, space_graphs, trained_looking_weights

from emnas_gym.memory import plan_arena
from emnas_gym.operator_order import scheduled
from hardware.legalize import legalize
from hardware.lowering import lower_float, lower_int8


def unit_ranges(count: int) -> np.ndarray:
    return np.tile([-1.0, 1.0], (count, 1))


def test_a_dense_layer_reads_the_map_itself() -> None:
    for graph in space_graphs("emnas-382", 20):
        codes = [op.code for op in lower_float(graph, trained_looking_weights(graph)).operators]
        assert "RESHAPE" not in codes
        assert codes[-2:] == ["FULLY_CONNECTED", "SOFTMAX"]
        assert len(codes) == len(graph.deployed().nodes) - 1


def test_int8_programs_have_int8_ends_and_planned_activations() -> None:
    for graph in branching_graphs(20):
        deployed = scheduled(graph)
        count = len(legalize(deployed).nodes)
        program = lower_int8(graph, trained_looking_weights(graph), unit_ranges(count))
        first, last = program.tensors[0], program.tensors[program.output]
        assert (first.dtype, last.dtype) == ("int8", "int8")
        sizes = {(t.offset, int(np.prod(t.shape))) for t in program.tensors if t.data is None}
        head = max(offset + -(-size // 16) * 16 for offset, size in sizes)
        assert head == plan_arena(deployed).head_bytes
        for tensor in program.tensors:
            assert (tensor.data is None) == (tensor.offset >= 0)


def test_an_operator_writes_after_all_that_it_reads() -> None:
    for graph in branching_graphs(20):
        program = lower_float(graph, trained_looking_weights(graph))
        ready = {0} | {i for i, t in enumerate(program.tensors) if t.data is not None}
        for operator in program.operators:
            assert set(operator.inputs) <= ready
            ready.add(operator.output)
        assert program.output in ready
