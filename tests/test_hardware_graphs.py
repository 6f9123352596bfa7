"""Random networks for the hardware tests, and a slow plain reference for what they compute."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import ShapeError
from emnas_gym.graph import JOINS, OPS, POINTWISE, GraphBuilder, LayerGraph, Node
from emnas_gym.space import load_space
from emnas_gym.tasks import DIGITS, Task

Values = NDArray[np.float64]
SMALL_COLOUR = Task("small-colour", (20, 20, 3), 4)


class Drawn(Sequence[LayerGraph]):
    """Networks that are drawn when one of them is asked for: tests are collected without them."""

    def __init__(self, count: int, draw: Callable[[], list[LayerGraph]]) -> None:
        self.count, self.draw = count, lru_cache(draw)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: Any) -> Any:
        graphs = self.draw()
        assert len(graphs) == self.count
        return graphs[index]


@lru_cache
def space_graphs(name: str, count: int, task: Task = DIGITS, seed: int = 0) -> list[LayerGraph]:
    """Networks of a space, drawn as its own sampler draws them."""
    space, rng = load_space(name), np.random.default_rng(seed)
    return [space.sample(rng, task).graph(task) for _ in range(count)]


@lru_cache
def branching_graphs(count: int, seed: int = 0) -> list[LayerGraph]:
    """Networks with sums, concatenations, pools and inner sigmoids."""
    return [branching_graph(seed + i) for i in range(count)]


def branching_graph(seed: int) -> LayerGraph:
    """One network whose every operation reads one of the last few maps."""
    rng = np.random.default_rng(seed)
    builder = GraphBuilder((int(rng.integers(6, 18)), int(rng.integers(6, 18)), 2))
    ops = ["conv2d", "conv2d", "depthwise_conv2d", "pad", "slice", "add", "concat", "mul", "weigh"]
    ops += ["max_pool2d", "avg_pool2d", "sigmoid", "dropout", "softmax"]
    for _ in range(int(rng.integers(2, 11))):
        maps = list(range(len(builder.nodes)))
        try:
            _grow(builder, rng, str(rng.choice(ops)), int(rng.choice(maps[-4:])))
        except ShapeError:
            continue
    if rng.random() < 0.6:
        builder.mean()
    if rng.random() < 0.5:
        builder.dense(int(rng.integers(2, 9)), str(rng.choice(["none", "relu"])))
    builder.dense(int(rng.integers(2, 6)))
    builder.pointwise("softmax")
    return builder.build()


def _grow(builder: GraphBuilder, rng: np.random.Generator, op: str, source: int) -> None:
    activation = str(rng.choice(["none", "relu", "relu6"]))
    shape = builder.nodes[source].shape
    if op in ("add", "mul", "concat"):
        alike = [
            i
            for i, node in enumerate(builder.nodes)
            if (node.shape[:2] == shape[:2] if op == "concat" else node.shape == shape)
        ]
        others = [int(i) for i in rng.choice(alike, size=int(rng.integers(1, 4)))]
        builder.join(op, [source, *others], activation)
    elif op == "pad":
        top, bottom, left, right = (int(v) for v in rng.integers(0, 3, 4))
        builder.pad((top, bottom, left, right), source)
    elif op == "slice":
        begin, step = rng.integers(0, [3, 3, 2]), rng.integers(1, [4, 4, 3])
        end = begin + rng.integers(1, np.array(shape) + 1)
        builder.slice(*(tuple(map(int, v)) for v in (begin, end, step)), reads=source)
    elif op == "weigh":  # the channels, as squeeze-and-excitation does
        builder.mean(source)
        squeezed = builder.window("conv2d", 1, 1, "valid", filters=3, activation="relu")
        builder.window("conv2d", 1, 1, "valid", filters=shape[2], reads=squeezed)
        builder.join("mul", rng.permutation([builder.pointwise("sigmoid"), source]).tolist())
    elif op in ("sigmoid", "softmax", "dropout"):
        builder.pointwise(op, source, rate=0.2)
    else:
        builder.window(
            op,
            int(rng.choice([1, 2, 3, 5])),
            int(rng.choice([1, 1, 2, 3])),
            str(rng.choice(["same", "valid"])),
            filters=int(rng.choice([1, 3, 8, 13])),
            dilation=int(rng.choice([1, 1, 2, 3])) if "conv" in op else 1,
            activation=activation,
            batch_norm="conv" in op and rng.random() < 0.5,
            reads=source,
        )


def trained_looking_weights(graph: LayerGraph, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Weights whose biases and batch norms do something."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in graph.weight_shapes().items():
        part = name.rpartition("/")[2]
        if part == "kernel":
            fan_in = np.prod(shape[:2] if len(shape) == 3 else shape[1:])
            value = rng.normal(0.0, np.sqrt(2.0 / fan_in), shape)
        elif part in ("variance", "gamma"):
            value = rng.uniform(0.5, 1.5, shape)
        else:
            value = rng.normal(0.0, 0.1, shape)
        weights[name] = value.astype(np.float32)
    return weights


def images_for(graph: LayerGraph, count: int, seed: int = 0) -> NDArray[np.float32]:
    """Images of noise."""
    rng = np.random.default_rng(seed)
    return rng.uniform(0.0, 1.0, (count, *graph.input_shape)).astype(np.float32)


def forward(graph: LayerGraph, weights: Mapping[str, NDArray[np.float32]], image: Values) -> Values:
    """What the network computes, node by node in float64, written without looking at the export."""
    values: list[Values] = []
    for node in graph:
        inputs = [values[i] for i in node.inputs]
        values.append(
            image.astype(np.float64) if node.op == "input" else _apply(node, inputs, weights)
        )
    return values[-1]


def _apply(node: Node, inputs: list[Values], weights: Mapping[str, NDArray[np.float32]]) -> Values:
    x = inputs[0]
    if node.op in ("conv2d", "depthwise_conv2d", "dense"):
        y = _linear(node, x, weights)
    elif node.op in ("max_pool2d", "avg_pool2d"):
        filler = -np.inf if node.op == "max_pool2d" else np.nan
        windows = _windows(node, x, filler)
        y = windows.max((3, 4)) if node.op == "max_pool2d" else np.nanmean(windows, (3, 4))
    elif node.op == "pad":
        top, bottom, left, right = node.pads
        y = np.pad(x, ((top, bottom), (left, right), (0, 0)))
    elif node.op in POINTWISE or node.op in JOINS:
        y = _by_element(node.op, inputs)
    elif node.op == "slice":
        y = x[tuple(np.s_[b:e:s] for b, e, s in zip(node.begin, node.end, node.step, strict=True))]
    elif node.op == "mean":
        y = x.mean((0, 1), keepdims=True)
    else:
        y = x
    limits = {"none": (-np.inf, np.inf), "relu": (0.0, np.inf), "relu6": (0.0, 6.0)}
    return np.clip(y, *limits[node.activation])


def _by_element(op: str, inputs: list[Values]) -> Values:
    x = inputs[0]
    exponentials = np.exp(x - x.max(-1, keepdims=True))
    results: dict[str, Callable[[], Values]] = {
        "add": lambda: reduce(np.add, inputs),
        "mul": lambda: reduce(np.multiply, inputs),
        "concat": lambda: np.concatenate(inputs, axis=-1),
        "sigmoid": lambda: 1.0 / (1.0 + np.exp(-x)),
        "softmax": lambda: exponentials / exponentials.sum(-1, keepdims=True),
        "dropout": lambda: x,
    }
    return results[op]()


def _linear(node: Node, x: Values, weights: Mapping[str, NDArray[np.float32]]) -> Values:
    kernel = weights[f"{node.name}/kernel"].astype(np.float64)
    if node.op == "dense":
        y = kernel @ x.ravel()
    elif node.op == "conv2d":
        y = np.einsum("hwcij,oijc->hwo", _windows(node, x, 0.0), kernel)
    else:
        y = np.einsum("hwcij,ijc->hwc", _windows(node, x, 0.0), kernel)
    y = y + weights[f"{node.name}/bias"]
    if node.batch_norm:
        gamma, beta, mean, variance = (
            weights[f"{node.name}/{part}"].astype(np.float64)
            for part in ("gamma", "beta", "mean", "variance")
        )
        y = gamma * (y - mean) / np.sqrt(variance + 1e-3) + beta
    return y


def _windows(node: Node, x: Values, filler: float) -> Values:
    """All windows of a map: (out height, out width, channels, kernel height, kernel width)."""
    top, bottom, left, right = node.pads
    padded = np.pad(x, ((top, bottom), (left, right), (0, 0)), constant_values=filler)
    reach = [(k - 1) * d + 1 for k, d in zip(node.kernel, node.dilation, strict=True)]
    windows = np.lib.stride_tricks.sliding_window_view(padded, reach, axis=(0, 1))
    rows, columns = (np.s_[::step] for step in node.dilation)
    return windows[:: node.stride[0], :: node.stride[1], :, rows, columns]


def test_the_random_networks_use_every_operation() -> None:
    graphs = branching_graphs(40)
    assert {node.op for graph in graphs for node in graph} == OPS
    assert not all(graph.is_chain for graph in graphs)
