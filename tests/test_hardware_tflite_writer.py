"""The bytes of the files: what they compute, how they lie, what they cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from test_hardware_graphs import (
    SMALL_COLOUR,
    Drawn,
    branching_graph,
    branching_graphs,
    forward,
    images_for,
    space_graphs,
    trained_looking_weights,
)

from emnas_gym.memory import plan_arena
from emnas_gym.operator_order import scheduled
from hardware.calibration import calibrate
from hardware.export import export_float, export_int8
from hardware.extras import load
from hardware.interpreter import Model
from hardware.lowering import lower_float, lower_int8
from hardware.tflite_writer import DATA_ALIGNMENT, OFFLINE_PLAN, SCHEMA, write_tflite

pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")


def parsed(content: bytes) -> Any:
    return load(SCHEMA).ModelT.InitFromPackedBuf(content)


@pytest.mark.parametrize(
    "graphs",
    [
        Drawn(25, lambda: space_graphs("emnas-382", 25)),
        Drawn(8, lambda: space_graphs("emnas-mobile-49", 8, SMALL_COLOUR)),
        Drawn(60, lambda: branching_graphs(60)),
    ],
    ids=["emnas-382", "emnas-mobile-49", "branching"],
)
def test_float_files_compute_what_the_graph_says(graphs: Drawn) -> None:  # A7, F1
    for seed, graph in enumerate(graphs):
        weights, images = trained_looking_weights(graph, seed), images_for(graph, 2, seed)
        expected = np.stack([forward(graph, weights, image) for image in images])
        np.testing.assert_allclose(
            Model(export_float(graph, weights)).run(images), expected, atol=1e-5
        )


def test_constants_lie_at_multiples_of_sixteen() -> None:
    graph = branching_graph(3)
    content = export_int8(graph, trained_looking_weights(graph), images_for(graph, 4))
    schema = load(SCHEMA)
    model = schema.Model.GetRootAs(content)
    starts = []
    for i in range(model.BuffersLength()):
        table = model.Buffers(i)._tab
        field = table.Offset(4)
        if field:
            starts.append(table.Vector(field))
    assert len(starts) > 3
    assert all(start % DATA_ALIGNMENT == 0 for start in starts)


def test_operator_codes_stand_in_both_fields() -> None:
    graph = branching_graph(5)
    model = parsed(export_int8(graph, trained_looking_weights(graph), images_for(graph, 4)))
    assert model.version == 3
    for code in model.operatorCodes:
        assert code.deprecatedBuiltinCode == code.builtinCode <= 127
        assert code.version in (2, 3, 4)


def test_tensors_have_short_names_of_their_own() -> None:
    graph = space_graphs("emnas-382", 1)[0]
    model = parsed(export_float(graph, trained_looking_weights(graph)))
    names = [tensor.name for tensor in model.subgraphs[0].tensors]
    assert len(set(names)) == len(names)
    assert max(map(len, names)) <= 3


def test_the_int8_file_carries_the_arena_plan() -> None:
    for graph in [*space_graphs("emnas-382", 5), *branching_graphs(10)]:
        model = parsed(export_int8(graph, trained_looking_weights(graph), images_for(graph, 2)))
        (entry,) = model.metadata
        assert entry.name == OFFLINE_PLAN.encode()
        version, subgraph, count, *offsets = np.frombuffer(
            bytes(model.buffers[entry.buffer].data), np.int32
        )
        tensors = model.subgraphs[0].tensors
        assert (version, subgraph, count) == (1, 0, len(tensors))
        assert [o < 0 for o in offsets] == [t.buffer != 0 for t in tensors]
        assert set(offsets) - {-1} == set(plan_arena(scheduled(graph)).offsets)


def test_the_float_file_carries_no_plan() -> None:
    graph = space_graphs("emnas-382", 1)[0]
    assert parsed(export_float(graph, trained_looking_weights(graph))).metadata is None


def test_equal_programs_are_equal_bytes() -> None:
    graph = branching_graph(7)
    weights, images = trained_looking_weights(graph), images_for(graph, 4)
    assert export_int8(graph, weights, images) == export_int8(graph, weights, images)


def test_kernel_and_bias_share_their_zero_points() -> None:
    graph = space_graphs("emnas-382", 1)[0]
    weights = trained_looking_weights(graph)
    program = lower_float(graph, weights)
    ranges = calibrate(write_tflite(program), program.output + 1, images_for(graph, 2))
    int8 = lower_int8(graph, weights, ranges)
    model = load(SCHEMA).Model.GetRootAs(write_tflite(int8)).Subgraphs(0)

    def zero_points(index: int) -> int:
        table = model.Tensors(index).Quantization()._tab
        return int(table.Vector(table.Offset(10)))

    for operator in int8.operators:
        if len(operator.inputs) == 3:
            kernel, bias = (zero_points(i) for i in operator.inputs[1:])
            assert kernel == bias
