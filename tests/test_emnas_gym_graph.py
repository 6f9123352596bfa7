"""Graphs and memory: TensorFlow's padding, shapes, weights' names, and where activations lie."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_hardware_graphs import branching_graph, branching_graphs, space_graphs
from torch.nn import functional

from emnas_gym import cost_vectors, costs
from emnas_gym.errors import InvalidArchitecture, ShapeError
from emnas_gym.graph import GraphBuilder, LayerGraph, window_output
from emnas_gym.memory import ALIGNMENT, align, plan_arena

SIDES = st.integers(1, 40)
KERNELS = st.integers(1, 7)
STRIDES = st.integers(1, 4)

# -------------------------------------------------------------------------------------- windows


@given(SIDES, KERNELS, STRIDES)
def test_same_is_tensorflows_rule(size: int, kernel: int, stride: int) -> None:
    """Every output sees the map, all of the map is seen, and the odd zero goes behind."""
    out, before, after = window_output(size, kernel, stride, "same")
    assert out == math.ceil(size / stride)
    assert after - before in (0, 1)
    starts = [i * stride - before for i in range(out)]
    assert all(start < size and start + kernel > 0 for start in starts), "no window of zeros alone"
    if kernel >= stride:
        seen = {start + k for start in starts for k in range(kernel)}
        assert set(range(size)) <= seen
    needed = max((out - 1) * stride + kernel - size, 0)
    assert before + after == needed


@given(SIDES, KERNELS, STRIDES)
def test_valid_keeps_inside(size: int, kernel: int, stride: int) -> None:
    if kernel > size:
        with pytest.raises(ShapeError, match=f"a window of {kernel} does not fit a map of {size}"):
            window_output(size, kernel, stride, "valid")
        return
    out, before, after = window_output(size, kernel, stride, "valid")
    assert (before, after) == (0, 0)
    assert out == len(range(0, size - kernel + 1, stride))


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, KERNELS, STRIDES, st.sampled_from(["same", "valid"]))
def test_shapes_and_pads_are_those_of_torch(
    height: int, width: int, kernel: int, stride: int, padding: str
) -> None:
    """The padding is put around the map by hand, as torch knows no padding that is uneven."""
    builder = GraphBuilder((height, width, 2))
    try:
        builder.window("conv2d", kernel, stride, padding, filters=3)
    except ShapeError:
        assert padding == "valid"
        assert kernel > min(height, width)
        return
    node = builder.build().nodes[-1]
    top, bottom, left, right = node.pads
    image = torch.randn(1, 2, height, width, generator=torch.Generator().manual_seed(0))
    padded = functional.pad(image, (left, right, top, bottom))
    weight = torch.randn(3, 2, kernel, kernel, generator=torch.Generator().manual_seed(1))
    out = functional.conv2d(padded, weight, stride=stride)
    assert tuple(out.shape[1:]) == (node.shape[2], node.shape[0], node.shape[1])
    if padding == "same" and stride == 1 and kernel % 2:  # here torch has the same rule
        assert torch.allclose(out, functional.conv2d(image, weight, padding="same"), atol=1e-5)


def test_the_odd_zero_goes_bottom_and_right() -> None:
    """3×3 with stride 2 on 16: torch's padding of 1 would shift the map by a pixel."""
    assert window_output(16, 3, 2, "same") == (8, 0, 1)
    assert window_output(16, 2, 1, "same") == (16, 0, 1)
    assert window_output(15, 3, 2, "same") == (8, 1, 1)
    assert window_output(16, 3, 3, "same") == (6, 1, 1)
    assert window_output(5, 1, 3, "same") == (2, 0, 0)


# --------------------------------------------------------------------------------------- graphs


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_deployed_leaves_training_out_and_keeps_the_rest(seed: int) -> None:
    graph = branching_graph(seed)
    deployed = graph.deployed()
    assert [n.name for n in deployed] == [n.name for n in graph if n.op != "dropout"]
    assert deployed.deployed() is deployed
    for node in deployed:
        assert all(j < deployed.nodes.index(node) for j in node.inputs)
        same = next(n for n in graph if n.name == node.name)
        if same.op == "dropout":
            continue
        assert deployed.in_shapes(node) == graph.in_shapes(same), "dropout keeps shapes"
    assert deployed.weight_shapes() == graph.weight_shapes()


def test_names_are_unique_and_weights_have_the_declared_layouts() -> None:
    for graph in branching_graphs(30):
        names = Counter(node.name for node in graph)
        assert set(names.values()) == {1}
        shapes = graph.weight_shapes()
        assert sum(math.prod(shape) for shape in shapes.values()) == costs.params(graph)
        for node in graph:
            if node.op not in ("conv2d", "depthwise_conv2d", "dense"):
                assert not any(name.startswith(node.name + "/") for name in shapes)
                continue
            kernel, (read,) = shapes[f"{node.name}/kernel"], graph.in_shapes(node)
            assert (
                kernel
                == {
                    "conv2d": (node.shape[-1], *node.kernel, read[-1]),
                    "depthwise_conv2d": (*node.kernel, read[-1]),
                    "dense": (node.shape[-1], math.prod(read)),
                }[node.op]
            )


@settings(max_examples=100, deadline=None)
@given(SIDES, KERNELS, STRIDES, st.integers(1, 4), st.sampled_from(["same", "valid"]))
def test_a_dilated_window_is_one_with_zeros_between_its_taps(
    size: int, kernel: int, stride: int, dilation: int, padding: str
) -> None:
    reach = (kernel - 1) * dilation + 1
    if padding == "valid" and reach > size:
        with pytest.raises(ShapeError, match=f"a window of {reach} does not fit"):
            window_output(size, kernel, stride, padding, dilation)
        return
    out, before, after = window_output(size, kernel, stride, padding, dilation)
    assert (out, before, after) == window_output(size, reach, stride, padding)
    padded = torch.zeros(1, 1, 1, before + size + after)
    taps = torch.ones(1, 1, 1, kernel)
    convolved = functional.conv2d(padded, taps, stride=(1, stride), dilation=(1, dilation))
    assert convolved.shape[-1] == out


PLACES = st.tuples(*[st.integers(0, 9)] * 3)


@settings(max_examples=200, deadline=None)
@given(PLACES, PLACES, st.tuples(*[st.integers(1, 5)] * 3))
def test_a_slice_takes_what_numpy_takes(
    begin: tuple[int, int, int], end: tuple[int, int, int], step: tuple[int, int, int]
) -> None:
    values = np.arange(6 * 7 * 4).reshape(6, 7, 4)
    expected = values[tuple(np.s_[b:e:s] for b, e, s in zip(begin, end, step, strict=True))]
    builder = GraphBuilder((6, 7, 4))
    if not expected.size:
        with pytest.raises(ShapeError, match="takes nothing"):
            builder.slice(begin, end, step)
        return
    builder.slice(begin, end, step)
    node = builder.build().nodes[-1]
    assert node.shape == expected.shape
    taken = zip(node.begin, node.end, node.step, strict=True)
    assert (values[tuple(np.s_[b:e:s] for b, e, s in taken)] == expected).all()
    assert all(e <= size for e, size in zip(node.end, (6, 7, 4), strict=True))


def test_products_take_a_map_and_what_weighs_its_channels() -> None:
    builder = GraphBuilder((4, 6, 3))
    weights = builder.mean()
    assert builder.nodes[builder.join("mul", [weights, 0, weights])].shape == (4, 6, 3)
    assert builder.nodes[builder.join("mul", [weights, weights])].shape == (1, 1, 3)
    assert builder.nodes[builder.join("mul", [0, 0], "relu")].activation == "relu"
    with pytest.raises(ShapeError, match="like shape"):
        builder.join("add", [0, weights])
    narrow = builder.window("conv2d", 1, 1, "same", filters=1, reads=weights)
    with pytest.raises(ShapeError, match="like shape"):
        builder.join("mul", [0, narrow])


def test_builders_refuse_what_does_not_fit() -> None:
    for shape in ((), (0, 4, 1), (4, -1, 1)):
        with pytest.raises(ShapeError, match="has no elements"):
            GraphBuilder(shape)
    builder = GraphBuilder((4, 4, 2))
    small = builder.window("conv2d", 2, 2, "valid", filters=2)
    with pytest.raises(ShapeError, match="like shape"):
        builder.join("add", [0, small])
    with pytest.raises(ShapeError, match="like shape"):
        builder.join("concat", [0, small])
    with pytest.raises(ShapeError, match="two or more"):
        builder.join("add", [0])
    with pytest.raises(ShapeError, match="no operation 'swish'"):
        builder.pointwise("swish")
    with pytest.raises(ShapeError, match="no operation"):
        builder.window("conv2d", 1, 1, "valid", filters=2, activation="gelu")
    for op, dilation in (("max_pool2d", 2), ("avg_pool2d", 3), ("conv2d", 0)):
        with pytest.raises(ShapeError, match=f"{op} cannot have a dilation of {dilation}"):
            builder.window(op, 1, 1, "valid", filters=2, dilation=dilation)
    for begin, step in (((-1, 0, 0), (1, 1, 1)), ((0, 0, 0), (1, 0, 1))):
        with pytest.raises(ShapeError, match="takes nothing"):
            builder.slice(begin, (4, 4, 2), step)
    vector = builder.dense(5)
    for op in ("conv2d", "max_pool2d"):
        with pytest.raises(ShapeError, match="needs a map"):
            builder.window(op, 1, 1, "valid", filters=2, reads=vector)
    assert issubclass(ShapeError, InvalidArchitecture)
    assert builder.build().output_shape == (5,), "what was refused was not added"


def test_branches_have_shapes_too() -> None:  # A7
    builder = GraphBuilder((8, 8, 3))
    left = builder.window("conv2d", 3, 2, "same", filters=4, reads=0)
    right = builder.window("max_pool2d", 2, 2, "valid", reads=0)
    joined = builder.join("concat", [left, right])
    assert builder.nodes[joined].shape == (4, 4, 7)
    assert not builder.build().is_chain
    again = builder.join("add", [joined, joined], "relu")
    assert builder.nodes[again].shape == (4, 4, 7)
    assert builder.nodes[builder.mean()].shape == (1, 1, 7)


# --------------------------------------------------------------------------------------- memory


def _sizes(graph: LayerGraph, width: int) -> list[int]:
    return [-(-math.prod(node.shape) * width // ALIGNMENT) * ALIGNMENT for node in graph]


def _alive(graph: LayerGraph) -> list[set[int]]:
    """For every operation the tensors that exist while it runs, from the edges alone."""
    readers: dict[int, int] = {i: i for i in range(len(graph.nodes))}
    for i, node in enumerate(graph):
        for j in node.inputs:
            readers[j] = max(readers[j], i)
    return [
        {j for j in range(len(graph.nodes)) if j <= i <= readers[j]}
        for i in range(len(graph.nodes))
    ]


def _check_plan(graph: LayerGraph, width: int) -> int:
    plan, sizes = plan_arena(graph, width), _sizes(graph, width)
    assert all(offset % ALIGNMENT == 0 and offset >= 0 for offset in plan.offsets)
    assert plan.head_bytes == max(o + s for o, s in zip(plan.offsets, sizes, strict=True))
    for alive in _alive(graph):
        for a, b in itertools.combinations(sorted(alive), 2):
            apart = (
                plan.offsets[a] + sizes[a] <= plan.offsets[b]
                or plan.offsets[b] + sizes[b] <= plan.offsets[a]
            )
            assert apart, f"tensors {a} and {b} live together"
    bound = max(sum(sizes[i] for i in alive) for alive in _alive(graph))
    assert plan.head_bytes >= bound
    return bound


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 100_000), st.sampled_from([1, 4]))
def test_no_two_live_tensors_share_a_byte(seed: int, width: int) -> None:  # E5
    _check_plan(branching_graph(seed).deployed(), width)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 90), st.lists(st.integers(0, 30), max_size=3))))
def test_no_two_live_tensors_of_any_dag_share_a_byte(
    rows: list[tuple[int, list[int]]],
) -> None:  # E5
    """Random edges and sizes, skip connections over the whole graph included."""
    builder = GraphBuilder((1, 1, 5))
    for units, reads in rows:
        sources = {r % len(builder.nodes) for r in reads} or {len(builder.nodes) - 1}
        maps = [i for i in sorted(sources) if len(builder.nodes[i].shape) == 3] or [0]
        joined = builder.join("concat", [*maps, 0])
        builder.window("conv2d", 1, 1, "valid", filters=units, reads=joined)
    _check_plan(builder.build(), 1)


@pytest.mark.parametrize("name", ["emnas-382", "emnas-mobile-49"])
def test_a_chain_needs_its_largest_neighbours(name: str) -> None:  # E5
    for graph in space_graphs(name, 40):
        graph = graph.deployed()
        assert graph.is_chain
        sizes = _sizes(graph, 1)
        pairs = max(a + b for a, b in itertools.pairwise(sizes))
        assert plan_arena(graph).head_bytes == pairs == costs.arena_head_bytes(graph)
        assert _check_plan(graph, 1) == pairs, "and it is the least that can be"


def test_a_plan_that_is_known() -> None:
    """Sizes 256, 512, 64 in a chain: 768; with the input kept for a sum: 256 more."""
    builder = GraphBuilder((4, 4, 16))
    wide = builder.window("conv2d", 1, 1, "valid", filters=32)
    builder.window("conv2d", 1, 1, "valid", filters=4, reads=wide)
    assert plan_arena(builder.build()).head_bytes == 256 + 512
    builder = GraphBuilder((4, 4, 16))
    wide = builder.window("conv2d", 1, 1, "valid", filters=32)
    narrow = builder.window("conv2d", 1, 1, "valid", filters=16, reads=wide)
    builder.join("add", [0, narrow])
    assert plan_arena(builder.build()).head_bytes == 256 + 512 + 256
    lonely = GraphBuilder((3, 3, 1)).build()
    assert plan_arena(lonely).head_bytes == 16
    assert plan_arena(lonely, 4).head_bytes == 48


def test_the_mean_of_a_large_map_needs_scratch() -> None:
    """Sums of four bytes a channel and the axes, beside the map and the result."""
    builder = GraphBuilder((300, 1, 100))
    builder.mean()
    graph = builder.build()
    assert plan_arena(graph).head_bytes == 30_000 + 112 + 400 + 32
    assert cost_vectors.layer_costs(graph)[cost_vectors.HEAD] == 30_000 + 112 + 400 + 32
    small = GraphBuilder((256, 1, 100))
    small.mean()
    assert plan_arena(small.build()).head_bytes == 25_600 + 112


def test_alignment() -> None:
    assert [align(n) for n in (0, 1, 16, 17)] == [0, 16, 16, 32]
    assert all(align(int(n)) % 16 == 0 for n in np.arange(300))
