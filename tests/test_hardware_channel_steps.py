"""Slices that step over channels, as an NPU takes them: the same bits, and nothing on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emnas_gym.branched.operations import lower
from emnas_gym.graph import GraphBuilder, LayerGraph
from hardware.channel_steps import without_channel_steps
from hardware.export import export_float, export_int8
from hardware.interpreter import Model
from hardware.random_weights import random_images, random_weights

pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")

Place = tuple[int, int, int]


def _int8(graph: LayerGraph) -> bytes:
    return export_int8(graph, random_weights(graph), random_images(graph.input_shape, 4))


def _sliced(channels: int, begin: Place, step: Place) -> LayerGraph:
    builder = GraphBuilder((6, 5, channels))
    before = builder.window("conv2d", 1, 1, "same", filters=channels)
    builder.slice(begin, (6, 5, channels), step, before)
    return builder.build()


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(2, 19))
def test_any_step_computes_the_same_bits(data: st.DataObject, channels: int) -> None:  # E5
    sides = (6, 5, channels)
    begin = data.draw(st.tuples(*(st.integers(0, side - 1) for side in sides)))
    step = data.draw(st.tuples(*(st.integers(1, 3) for _ in sides)))
    graph = _sliced(channels, begin, step)
    content = _int8(graph)
    again = without_channel_steps(content)
    assert (again is content) is (graph.nodes[-1].step[2] == 1)
    for image in random_images((6, 5, channels), 3, seed=1):
        assert np.array_equal(Model(content).run(image[None]), Model(again).run(image[None]))


@pytest.mark.parametrize("channels", [7, 16])
def test_shuffle_units_run_on_an_npu(channels: int) -> None:  # A18, E6
    pytest.importorskip("ethosu.regor", reason="needs the package ethos-u-vela")
    from hardware.npu_compiler import compile_model, optimised_model
    from hardware.npu_configs import npu_config

    builder = GraphBuilder((8, 8, channels))
    lower("shuffle3x3", builder, 0, channels, 1)
    lower("shuffle5x5", builder, len(builder.nodes) - 1, channels, 1)
    content, config = _int8(builder.build()), npu_config("ethos-u55-128")
    report = compile_model(content, config)
    assert report.cpu_operators == 0
    assert report.cycles > 0
    assert b"STRIDED_SLICE" not in optimised_model(content, config)


def test_what_has_nothing_of_the_kind_is_left_as_it_is() -> None:
    stepped = _sliced(6, (0, 0, 1), (1, 1, 2))
    for content in (
        _int8(_sliced(6, (0, 0, 0), (2, 1, 1))),
        export_float(stepped, random_weights(stepped)),
    ):
        assert without_channel_steps(content) is content
