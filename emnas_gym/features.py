"""What a network looks like as numbers, fast: the input of accuracy surrogates.

Networks of one space and task share few layers: the same token on the same shape. Each such layer
is built and described once; a network is then a walk through a table, and all that is computed for
a batch is array operations. Features follow the canonical tokens, so that networks that behave
alike have equal features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from emnas_gym import costs
from emnas_gym.architecture import Architecture
from emnas_gym.grammar import Grammar
from emnas_gym.graph import GraphBuilder, LayerGraph, Shape
from emnas_gym.growing_rows import GrowingRows
from emnas_gym.layers import KINDS, LayerSpec
from emnas_gym.tasks import Task

VERSION = 1  # changes with the meaning, number or order of the features
FIRST, LAST = 4, 3  # layers described one by one at the beginning and, with the output, at the end
LAYER = (  # of one layer; sizes, MACs and parameters are binary logarithms
    *KINDS,
    "sigmoid",
    "relu",
    "kernel",
    "stride",
    "same",
    "in",
    "out",
    "channels",
    "map",
    "macs",
    "params",
    "fan_in",
    "seen",
    "change",
)
_COLUMN = {name: i for i, name in enumerate(LAYER)}
Array = NDArray[np.float64]


def describe(spec: LayerSpec, shape: Shape, classes: int) -> tuple[Shape, list[float]]:
    """One layer on the shape that it reads.

    Args:
        spec: The layer.
        shape: What it reads.
        classes: Classes of the task, for the output layer.

    Returns:
        The shape it returns, and the values of `LAYER`.

    Raises:
        ShapeError: If the layer does not fit the shape.
    """
    builder = GraphBuilder(shape)
    spec.lower(builder, classes)
    graph, out = builder.build(), builder.shape
    params = costs.params(graph)
    before, after = math.log2(math.prod(shape)), math.log2(math.prod(out))
    return out, [
        *(float(spec.kind == kind) for kind in KINDS),
        float(spec.activation == "sigmoid"),
        float(spec.activation in ("relu", "relu6")),
        float(spec.kernel),
        float(spec.stride),
        float(spec.padding == "same" and spec.kernel > 1),
        before,
        after,
        math.log2(out[-1]),
        math.log2(math.prod(out[:-1])),
        math.log2(1 + costs.macs(graph)),
        math.log2(1 + params),
        math.log2(params / out[-1]) if params else 0.0,
        _seen(graph),
        after - before,
    ]


def _seen(graph: LayerGraph) -> float:
    """Binary logarithm of the share of the map that windows read at all."""
    total = 0.0
    for node in graph:
        if node.op not in ("conv2d", "depthwise_conv2d"):
            continue
        before = graph.in_shapes(node)[0]
        for axis in (0, 1):
            kernel, stride, count = node.kernel[axis], node.stride[axis], node.shape[axis]
            read = (count - 1) * stride + kernel if kernel >= stride else count * kernel
            total += math.log2(min(read, before[axis]) / before[axis])
    return total


class LayerTable:
    """Descriptions of the layers of a space on a task, made when they are first met.

    Args:
        space: The search space.
        task: Input shape and classes.
    """

    def __init__(self, space: Grammar, task: Task) -> None:
        self.space, self.task = space, task
        self._shapes: list[Shape] = [task.input_shape]
        self._moves: dict[tuple[int, int], tuple[int, int]] = {}
        self._table = GrowingRows(np.zeros((1, len(LAYER))))  # row 0: no layer

    def walk(self, tokens: Sequence[int]) -> list[int]:
        """Rows of the layers of a network, the output layer last.

        Raises:
            ShapeError: If a layer does not fit its shape.
        """
        state, rows = 0, []
        for token in tokens:
            move = self._moves.get((state, token))
            if move is None:
                move = self._meet(state, token)
            row, state = move
            rows.append(row)
        return rows

    def row(self, shape: Shape, token: int) -> int:
        """Row of one layer on the shape that it reads.

        Raises:
            ShapeError: If it does not fit the shape.
        """
        if shape not in self._shapes:
            self._shapes.append(shape)
        state = self._shapes.index(shape)
        return (self._moves.get((state, token)) or self._meet(state, token))[0]

    def _meet(self, state: int, token: int) -> tuple[int, int]:
        shape, row = describe(self.space.spec(token), self._shapes[state], self.task.classes)
        if shape not in self._shapes:
            self._shapes.append(shape)
        self._table.append(np.array([row]))
        move = (len(self._table) - 1, self._shapes.index(shape))
        self._moves[state, token] = move
        return move

    def gather(self, walks: Sequence[Sequence[int]]) -> tuple[Array, NDArray[np.int64]]:
        """Layers of networks, shape (N, longest of the space, features), and lengths (N,)."""
        lengths = np.array([len(walk) for walk in walks], dtype=np.int64)
        return self.described()[self.rows(walks)], lengths

    def rows(self, walks: Sequence[Sequence[int]]) -> NDArray[np.int64]:
        """Walks as one array, shape (N, longest of the space), 0 after the end."""
        index = np.zeros((len(walks), self.space.max_layers), dtype=np.int64)
        for i, walk in enumerate(walks):
            index[i, : len(walk)] = walk
        return index

    def described(self) -> Array:
        """All layers met so far, shape (R, features); row 0 is no layer."""
        return self._table.rows


@lru_cache(maxsize=32)
def layer_table(space: Grammar, task: Task) -> LayerTable:
    """The table of a space and task, shared by a process."""
    return LayerTable(space, task)


def features(batch: Sequence[Architecture], task: Task) -> Array:
    """Features of a batch of one space, shape (N, `len(feature_names())`), float64.

    Args:
        batch: Architectures of one space, not empty.
        task: What they are for.

    Raises:
        ShapeError: If one of them cannot be built.
    """
    table = layer_table(batch[0].space, task)
    layers, lengths = table.gather([table.walk(a.canonical) for a in batch])
    return network_features(layers, lengths)


def lengths_of(layers: Array) -> NDArray[np.int64]:
    """Number of layers of each network, the output layer included, from `LayerTable.gather`."""
    there = layers[:, :, : len(KINDS)].any(axis=2)
    count: NDArray[np.int64] = there.sum(axis=1, dtype=np.int64)
    return count


def network_features(layers: Array, lengths: NDArray[np.int64]) -> Array:
    """Features of networks from their layers.

    Args:
        layers: (N, L, layer features), zeros after the output layer.
        lengths: Layers with the output layer, shape (N,).

    Returns:
        Shape (N, features).
    """
    body = np.arange(layers.shape[1]) < (lengths - 1)[:, None]  # (N, L): layers before the output
    parts = [
        (lengths - 1.0)[:, None],
        *_summaries(layers, body, lengths),
        *_positions(layers, body, lengths),
        _whole(layers, body, lengths),
    ]
    return np.concatenate(parts, axis=1)


def _summaries(layers: Array, body: NDArray[np.bool_], lengths: NDArray[np.int64]) -> list[Array]:
    """Sum, mean, largest and least value of every layer feature, the output layer left out."""
    there = body[:, :, None]
    total = np.where(there, layers, 0.0).sum(axis=1)
    return [
        total,
        total / np.maximum(lengths - 1, 1)[:, None],
        np.where(there, layers, -np.inf).max(axis=1, initial=-1e3),
        np.where(there, layers, np.inf).min(axis=1, initial=1e3),
    ]


def _positions(layers: Array, body: NDArray[np.bool_], lengths: NDArray[np.int64]) -> list[Array]:
    """The first layers and the last ones as they are, zeros where there are fewer."""
    count = len(layers)
    first = np.where(body[:, :FIRST, None], layers[:, :FIRST], 0.0)
    at = lengths[:, None] - LAST + np.arange(LAST)  # (N, LAST)
    last = np.where(
        (at >= 0)[:, :, None], layers[np.arange(count)[:, None], np.maximum(at, 0)], 0.0
    )
    return [first.reshape(count, -1), last.reshape(count, -1)]


WHOLE = (
    "flat",
    "flat_over_least",
    "mean_running_least",
    "least_at",
    "least_before_end",
    *(f"least_out_{kind}" for kind in ("relu", "sigmoid", "dense")),
    *(f"least_channels_{kind}" for kind in ("relu", "sigmoid", "any")),
    *(f"out_below_{bits}" for bits in range(3, 9)),
    *(f"channels_below_{bits}" for bits in (1, 3.5, 4.5)),
    *("narrow_channels", "narrow_out", "narrow_channels_relu", "narrow_out_relu"),
    *("narrow_out_sigmoid", "lack_sigmoid", "lack_relu"),
    *("receptive_field", "jump"),
    *("longest_sigmoid_run", "first_sigmoid", "last_sigmoid", "early_sigmoid", "late_sigmoid"),
    "single_channel_prefix",
    *("mixing", "mixing_conv", "mixing_depthwise", "point_depthwise", "point_conv"),
    *("all_params", "all_macs", "dense_sigmoid", "active_out", "shrinking", "growing"),
)


def feature_names() -> tuple[str, ...]:
    """Names of the features in their order."""
    summaries = [f"{how}_{name}" for how in ("sum", "mean", "max", "min") for name in LAYER]
    first = [f"first{i}_{name}" for i in range(FIRST) for name in LAYER]
    last = [f"last{LAST - 1 - i}_{name}" for i in range(LAST) for name in LAYER]
    return ("layers", *summaries, *first, *last, *WHOLE)


def _whole(layers: Array, body: NDArray[np.bool_], lengths: NDArray[np.int64]) -> Array:
    """What depends on several layers at once, in the order of `WHOLE`; shape (N, features)."""
    n = len(layers)
    rows, last = np.arange(n), np.maximum(lengths - 2, 0)

    def of(name: str) -> Array:
        column: Array = np.where(body, layers[:, :, _COLUMN[name]], 0.0)
        return column

    out, channels, change = of("out"), of("channels"), of("change")
    sigmoid, relu, conv, depthwise = of("sigmoid"), of("relu"), of("conv"), of("depthwise")
    dense, kernel, windows = of("dense"), of("kernel"), of("conv") + of("depthwise")
    present = body.astype(np.float64)
    place = np.arange(body.shape[1])

    def least(value: Array, where: Array) -> Array:
        """Least value of the layers named; the largest of all layers where there are none."""
        largest = value.max(axis=1, keepdims=True)
        smallest: Array = np.where(where > 0, value, largest).min(axis=1)
        return smallest

    bottleneck = np.where(body, out, np.inf)
    at = bottleneck.argmin(axis=1)
    running = np.where(body, np.minimum.accumulate(bottleneck, axis=1), 0.0)
    depth = np.maximum(lengths - 1.0, 1.0)
    flat = layers[rows, lengths - 1, _COLUMN["in"]]
    mixing = (kernel > 1) * windows
    single = (channels == 0) * depthwise
    columns = [
        flat,
        flat - np.minimum(bottleneck.min(axis=1), flat),
        running.sum(axis=1) / depth,
        at / depth,
        lengths - 2.0 - at,
        *(least(out, where) for where in (relu, sigmoid, dense)),
        *(least(channels, where) for where in (relu, sigmoid, relu + sigmoid)),
        *((present * (out < bits)).sum(axis=1) for bits in range(3, 9)),
        *((present * (channels < bits)).sum(axis=1) for bits in (1, 3.5, 4.5)),
        (present * 2.0**-channels).sum(axis=1),
        (present * 2.0 ** (-out / 2)).sum(axis=1),
        (relu * 2.0**-channels).sum(axis=1),
        (relu * 2.0 ** (-out / 2)).sum(axis=1),
        (sigmoid * 2.0 ** (-out / 2)).sum(axis=1),
        (sigmoid * np.maximum(0, 8 - out)).sum(axis=1),
        (relu * np.maximum(0, 8 - out)).sum(axis=1),
        *_reach(kernel, np.where(windows > 0, of("stride"), 1.0)),
        _longest_run(sigmoid),
        sigmoid[:, 0],
        sigmoid[rows, last],
        (sigmoid * np.maximum(lengths[:, None] - 1 - place, 0)).sum(axis=1),
        (sigmoid * (place + 1)).sum(axis=1),
        np.cumprod(single, axis=1).sum(axis=1),
        mixing.sum(axis=1),
        (mixing * conv).sum(axis=1),
        (mixing * depthwise).sum(axis=1),
        ((kernel == 1) * depthwise).sum(axis=1),
        ((kernel == 1) * conv).sum(axis=1),
        *(_total(layers[:, :, _COLUMN[name]]) for name in ("params", "macs")),
        (dense * sigmoid).sum(axis=1),
        (out * (sigmoid + relu)).sum(axis=1),
        np.maximum(0, -change).sum(axis=1),
        np.maximum(0, change).sum(axis=1),
    ]
    return np.stack(columns, axis=1)


def _total(logarithms: Array) -> Array:
    """Binary logarithm of one plus a sum of what is given as such logarithms."""
    total: Array = np.log2(1 + (2.0**logarithms - 1).sum(axis=1))
    return total


def _reach(kernel: Array, stride: Array) -> tuple[Array, Array]:
    """Binary logarithms of the receptive field and of the step of the last map, in input pixels."""
    jump = np.cumprod(stride, axis=1)
    before = jump / stride
    field = 1 + (np.maximum(kernel - 1, 0) * before).sum(axis=1)
    return np.log2(field), np.log2(jump[:, -1])


def _longest_run(flags: Array) -> Array:
    """Length of the longest run of ones along each row."""
    run = best = np.zeros(len(flags))
    for column in flags.T:
        run = (run + 1) * column
        best = np.maximum(best, run)
    return best
