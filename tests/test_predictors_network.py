"""The torch module of a graph: what it computes, against plain arithmetic, and its weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_hardware_graphs import (
    Drawn,
    branching_graphs,
    forward,
    images_for,
    space_graphs,
    trained_looking_weights,
)
from torch.utils.flop_counter import FlopCounterMode

from emnas_gym import costs
from emnas_gym.errors import InvalidArchitecture
from emnas_gym.graph import GraphBuilder, LayerGraph, Node
from emnas_gym.space import load_space
from emnas_gym.tasks import GRASP, Task
from predictors.network import GraphNetwork, _average_pool, _padded, _seen

COLOUR = Task("colour", (20, 20, 3), 4)
MOBILENET = [4, 26, 5, 43, 31, 9, 26, 9, 43, 31, 13, 26, 13, 43, 31, *[17, 26] * 5,
             17, 43, 31, 21, 26, 21, 49]  # fmt: skip
EVERY = Drawn(
    75,
    lambda: [
        *space_graphs("emnas-382", 25, seed=1),
        *space_graphs("emnas-382", 10, COLOUR, seed=2),
        *space_graphs("emnas-mobile-49", 10, COLOUR, seed=3),
        *branching_graphs(30, seed=50),
    ],
)


def _network(graph: LayerGraph, seed: int = 0) -> GraphNetwork:
    network = GraphNetwork(graph).eval()
    network.load_weights(trained_looking_weights(graph, seed))
    return network


@torch.no_grad()
def _logits(network: GraphNetwork, images: np.ndarray) -> np.ndarray:
    values: np.ndarray = network(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    return values


def test_networks_compute_what_plain_arithmetic_does() -> None:  # A7
    """Against loops over windows in float64, logits compared: the softmax is left to the loss."""
    ops = set()
    for i, graph in enumerate(EVERY):
        weights = trained_looking_weights(graph, i)
        network, images = _network(graph, i), images_for(graph, 2, i)
        found = _logits(network, images)
        body = LayerGraph(graph.nodes[:-1])
        for logits, image in zip(found, images, strict=True):
            expected = forward(body, weights, image)
            scale = max(float(np.abs(expected).max()), 1.0)
            assert np.allclose(logits, expected, atol=2e-5 * scale, rtol=0), graph
        ops |= {node.op for node in graph}
    assert {"conv2d", "depthwise_conv2d", "dense", "sigmoid", "pad", "mean", "add", "concat"} <= ops


def test_a_dense_layer_after_a_map_reads_height_width_channels() -> None:
    builder = GraphBuilder((3, 4, 2))
    builder.dense(24)
    graph = builder.build()
    network = GraphNetwork(graph)
    kernel = np.eye(24, dtype=np.float32)  # unit i shows the i-th value of the flattened map
    network.load_weights({"dense_1/kernel": kernel, "dense_1/bias": np.zeros(24, np.float32)})
    image = np.arange(24, dtype=np.float32).reshape(1, 3, 4, 2)
    assert _logits(network, image)[0].tolist() == list(range(24))


def test_an_average_counts_only_pixels_that_exist() -> None:
    builder = GraphBuilder((3, 3, 1))
    builder.window("avg_pool2d", 2, 2, "same")
    network = GraphNetwork(builder.build())
    image = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
    assert _logits(network, image)[0, 0].tolist() == [[2.0, 3.5], [6.5, 8.0]]


def test_weights_round_trip() -> None:
    for i, graph in enumerate(EVERY):
        weights = trained_looking_weights(graph, i)
        network = GraphNetwork(graph)
        network.load_weights(weights)
        again = network.weights()
        assert {n: w.shape for n, w in again.items()} == graph.weight_shapes()
        assert list(again) == list(graph.weight_shapes()), "in order"
        for name, value in weights.items():
            assert again[name].dtype == np.float32
            assert np.array_equal(again[name], value), name
        other = GraphNetwork(graph).eval()
        other.load_weights(again)
        images = images_for(graph, 2)
        assert np.array_equal(_logits(other, images), _logits(network.eval(), images))


def test_weights_are_copies() -> None:
    graph = EVERY[0]
    network = _network(graph)
    before = network.weights()
    for value in network.weights().values():
        value[...] = 7
    assert all(np.array_equal(network.weights()[n], w) for n, w in before.items())


@pytest.mark.parametrize("change", ["missing", "more", "shape", "transposed", "nothing"])
def test_weights_of_another_graph_are_refused(change: str) -> None:
    graph = space_graphs("emnas-382", 5, seed=9)[0]
    weights = trained_looking_weights(graph)
    name = next(n for n in weights if n.endswith("/kernel"))
    if change == "missing":
        del weights[name]
    elif change == "more":
        weights["stranger/kernel"] = np.zeros(3, np.float32)
    elif change == "shape":
        weights[name] = weights[name][..., :0]
    elif change == "transposed":
        weights[name] = weights[name].T[None]
    else:
        weights = {}
    network = GraphNetwork(graph)
    before = network.weights()
    with pytest.raises(InvalidArchitecture, match="do not belong to this graph"):
        network.load_weights(weights)
    assert all(np.array_equal(network.weights()[n], w) for n, w in before.items())


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "dilation"),
    [(1, 1, 3, "same", 1), (1, 3, 1, "same", 1), (2, 2, 2, "same", 1), (3, 3, 1, "valid", 1),
     (5, 3, 1, "valid", 2), (2, 1, 2, "valid", 1), (3, 2, 3, "same", 1)],
)  # fmt: skip
def test_one_pixel_is_what_torch_convolves(
    size: int, kernel: int, stride: int, padding: str, dilation: int, depthwise: bool
) -> None:
    """Values and gradients, those of taps that only padding meets included."""
    builder = GraphBuilder((size, size, 3))
    op = "depthwise_conv2d" if depthwise else "conv2d"
    builder.window(op, kernel, stride, padding, filters=4, dilation=dilation)
    graph = builder.build()
    node = graph.nodes[1]
    assert node.shape[:2] == (1, 1)
    network = GraphNetwork(graph).double()
    x = torch.randn(6, 3, size, size, dtype=torch.float64, requires_grad=True)
    layer = network.layer(node)
    inputs = (x, layer.weight, layer.bias)
    answers = []
    for value in (network.without_norm(node, [x]), layer.forward(_padded(x, node, 0.0))):
        gradients = torch.autograd.grad(
            (value * torch.arange(6.0)[:, None, None, None]).sum(), inputs
        )
        answers.append((value, *gradients))
    for one, other in zip(*answers, strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)


@given(
    size=st.integers(1, 8), taps=st.integers(1, 6), dilation=st.integers(1, 3),
    before=st.integers(0, 8),
)  # fmt: skip
def test_a_kernel_sees_the_pixels_that_exist(
    size: int, taps: int, dilation: int, before: int
) -> None:
    pixels, seeing = _seen(size, taps, dilation, before)
    pairs = list(zip(range(size)[pixels], range(taps)[seeing], strict=True))
    places = [(tap * dilation - before, tap) for tap in range(taps)]
    assert pairs == [(pixel, tap) for pixel, tap in places if 0 <= pixel < size]


def test_macs_are_those_of_the_flop_counter(monkeypatch: pytest.MonkeyPatch) -> None:  # E13, E12
    """Every convolution is given to torch's: the counter does not count products one by one."""
    weighed = GraphNetwork._weighed

    def convolved(network: GraphNetwork, node: Node, x: torch.Tensor) -> torch.Tensor:
        if node.op == "dense":
            return weighed(network, node, x)
        return network.layer(node).forward(_padded(x, node, 0.0))

    monkeypatch.setattr(GraphNetwork, "_weighed", convolved)
    graphs = [
        *space_graphs("emnas-382", 20, seed=4),
        *space_graphs("emnas-mobile-49", 20, COLOUR, seed=5),
        load_space("emnas-mobile-49").build(MOBILENET, GRASP),
        *branching_graphs(20, seed=7),
    ]
    for graph in graphs:
        network = GraphNetwork(graph).eval()
        height, width, channels = graph.input_shape
        counter = FlopCounterMode(display=False)
        with counter, torch.no_grad():
            network(torch.zeros(1, channels, height, width))
        assert counter.get_total_flops() == 2 * costs.macs(graph)
        values = [*network.parameters(), *(b for b in network.buffers() if b.dim())]
        assert sum(math.prod(v.shape) for v in values) == costs.params(graph)


@pytest.mark.parametrize("size", [(3, 3), (5, 3), (7, 7)])
@pytest.mark.parametrize("shape", [(2, 3, 9, 8), (1, 2, 2, 1), (2, 1, 1, 1)])
def test_averages_around_every_pixel_are_those_of_torch(  # A7
    size: tuple[int, int], shape: tuple[int, int, int, int]
) -> None:
    """`avg_pool2d` that counts no padding, its gradient, and that of the gradient's length."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)
    rows, columns = size[0] // 2, size[1] // 2
    node = Node(
        "pool", "avg_pool2d", (0,), (*shape[2:], shape[1]), kernel=size,
        pads=(rows, rows, columns, columns),
    )  # fmt: skip
    mine = _average_pool(x, node)
    theirs = torch.nn.functional.avg_pool2d(x, size, 1, (rows, columns), count_include_pad=False)
    assert torch.allclose(mine, theirs, atol=1e-12)
    ours, known = (
        torch.autograd.grad(value.square().sum(), x, create_graph=True)[0]
        for value in (mine, theirs)
    )
    assert torch.allclose(ours, known, atol=1e-12)
    second, reference = (torch.autograd.grad(value.square().sum(), x)[0] for value in (ours, known))
    assert torch.allclose(second, reference, atol=1e-12)
