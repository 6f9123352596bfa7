"""Weights that a changed network inherits, so that it computes what its parent did.

Widening repeats channels and shares out what reads them (Net2WiderNet, Chen et al. 2016), with
unequal shares, so that gradients tell the copies apart. Deepening inserts layers that compute the
identity (Net2DeeperNet). A window grows by zeros around it (network morphism, Wei et al. 2016).

What is preserved, and when:

- more filters or units of a hidden layer, always;
- a larger window, where the map keeps its size;
- one more convolution or depthwise convolution with stride 1 that keeps the size of the map, or one
  more dense layer at least as wide as what it reads. Its activation must leave alone what reaches
  it: none; ReLU after a rectifier or sigmoid; ReLU6 after ReLU6 or a sigmoid. A sigmoid never does;
- dropout, added, moved or left out, which is inactive outside training.

Batch norm is preserved as deployed, with its running figures. Graphs other than chains are refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import NotPreserving
from emnas_gym.graph import WEIGHTED, LayerGraph, Node
from predictors.network import BATCH_NORM_EPSILON
from predictors.proxies.alignment import aligned, window_offset

Weights = dict[str, NDArray[np.float32]]
Array = NDArray[np.float64]
Indices = NDArray[np.int64]
BATCH_NORM = ("gamma", "beta", "mean", "variance")


def inherit(
    parent: LayerGraph, weights: Mapping[str, NDArray[np.float32]], child: LayerGraph, seed: int = 0
) -> Weights:
    """Weights of a child that computes the same as its parent, up to rounding.

    Args:
        parent: A chain.
        weights: Its weights.
        child: A chain: the parent with wider layers, larger windows or further layers.
        seed: Decides which channels are repeated and how they share.

    Returns:
        All weights of the child.

    Raises:
        NotPreserving: If the child cannot compute what the parent does; says where they part.
    """
    if not (parent.is_chain and child.is_chain):
        raise NotPreserving("only chains are widened and deepened; use `closest` for other graphs")
    if parent.input_shape != child.input_shape:
        raise NotPreserving(f"{child.input_shape} is read instead of {parent.input_shape}")
    pairs = aligned(parent, child)
    carried = _Carried(np.arange(parent.input_shape[-1]), np.random.default_rng(seed))
    new: Weights = {}
    for index, old in enumerate(pairs, start=1):
        node = child.nodes[index]
        if node.op not in WEIGHTED:
            continue
        if old is None:
            given = carried.identity(child, node)
        else:
            given = carried.grown(child, node, parent, parent.nodes[old], weights)
        new |= {f"{node.name}/{k}": v.astype(np.float32) for k, v in given.items()}
    return new


def closest(
    parent: LayerGraph, weights: Mapping[str, NDArray[np.float32]], child: LayerGraph
) -> Weights:
    """Weights of the child's layers that the parent has as well, in the same order.

    The function of the parent is not preserved. Layers are alike if operation, window, batch norm
    and shape of the kernel are; as many as possible are matched in order.

    Returns:
        Weights of some layers of the child, perhaps of none; `predictors.training.train` begins the
        others as ever.
    """
    mine, theirs = _kinds(child), _kinds(parent)
    names = _longest_common([kind for _, kind in theirs], [kind for _, kind in mine])
    new: Weights = {}
    for old, at in names:
        source, target = theirs[old][0], mine[at][0]
        for name, value in weights.items():
            node, _, part = name.rpartition("/")
            if node == source:
                new[f"{target}/{part}"] = value.copy()
    return new


def _kinds(graph: LayerGraph) -> list[tuple[str, tuple[object, ...]]]:
    """Name of each weighted node, and what it has in common with those like it."""
    shapes = graph.weight_shapes()
    return [
        (n.name, (n.op, n.stride, n.dilation, n.batch_norm, shapes[f"{n.name}/kernel"]))
        for n in graph
        if n.op in WEIGHTED
    ]


def _longest_common(one: Sequence[object], other: Sequence[object]) -> list[tuple[int, int]]:
    """Index pairs of a longest common subsequence."""
    best: list[list[list[tuple[int, int]]]] = [[[] for _ in range(len(other) + 1)]]
    for i, a in enumerate(one):
        row: list[list[tuple[int, int]]] = [[]]
        for j, b in enumerate(other):
            here = [*best[i][j], (i, j)] if a == b else []
            row.append(max(here, row[j], best[i][j + 1], key=len))
        best.append(row)
    return best[-1][-1]


@dataclass
class _Carried:
    """How the channels of the child at some place come from those of the parent.

    Attributes:
        origin: (channels,) each channel of the child equals this channel of the parent.
        rng: Draws copies and shares.
    """

    origin: Indices
    rng: np.random.Generator

    def shares(self) -> Array:
        """Part that each copy has in what the parent's channel gave; copies add up to one."""
        copies = np.bincount(self.origin)[self.origin]
        raw = np.where(copies > 1, self.rng.uniform(0.5, 1.5, len(copies)), 1.0)
        return np.asarray(raw / np.bincount(self.origin, raw)[self.origin])

    def widened(self, old: int, new: int) -> Indices:
        """The first channels as they are, the further ones copies of channels drawn."""
        return np.concatenate([np.arange(old), self.rng.integers(0, old, new - old)])

    def grown(
        self,
        child: LayerGraph,
        node: Node,
        parent: LayerGraph,
        old: Node,
        weights: Mapping[str, NDArray[np.float32]],
    ) -> dict[str, Array]:
        """Weights of a layer that the parent has, with what it reads repeated."""
        known = {
            name.rpartition("/")[2]: np.asarray(value, dtype=np.float64)
            for name, value in weights.items()
            if name.rpartition("/")[0] == old.name
        }
        kernel = known.pop("kernel")
        if node.op == "depthwise_conv2d":
            out = self.origin
            kernel = _enlarged(kernel, old, node, axis=0)[:, :, out]
        else:
            kernel = self._reading(kernel, child, node, parent, old)
            out = self.widened(old.shape[-1], node.shape[-1])
            kernel = kernel[out]
            self.origin = out
        return {"kernel": kernel, **{name: value[out] for name, value in known.items()}}

    def _reading(
        self, kernel: Array, child: LayerGraph, node: Node, parent: LayerGraph, old: Node
    ) -> Array:
        """The kernel of a layer that mixes channels, reading those of the child."""
        shares = self.shares()
        if node.op == "conv2d":
            return _enlarged(kernel, old, node, axis=1)[..., self.origin] * shares
        on_map = len(child.in_shapes(node)[0]) == 3
        channels = parent.in_shapes(old)[0][-1] if on_map else kernel.shape[1]
        apart = kernel.reshape(len(kernel), -1, channels)
        return (apart[..., self.origin] * shares).reshape(len(kernel), -1)

    def identity(self, child: LayerGraph, node: Node) -> dict[str, Array]:
        """Weights of a further layer that gives what it reads; further channels are copies."""
        before, width = child.in_shapes(node)[0], node.shape[-1]
        top, _, left, _ = node.pads
        if node.op == "depthwise_conv2d":
            kernel = np.zeros((*node.kernel, width))
            kernel[top, left] = 1
            source = np.arange(width)
        elif node.op == "conv2d":
            source = self.widened(before[-1], width)
            kernel = np.zeros((width, *node.kernel, before[-1]))
            kernel[np.arange(width), top, left, source] = 1
        else:
            size = int(np.prod(before))
            source = self.widened(size, width)
            kernel = np.eye(size)[source]
            if len(before) == 3:  # each value of the map is a unit of its own from here on
                places = np.arange(size // before[-1])[:, None] * (int(self.origin.max()) + 1)
                self.origin = (places + self.origin).ravel()
        self.origin = self.origin[source]
        ones, zeros = np.ones(width), np.zeros(width)
        given = {"kernel": kernel, "bias": zeros}
        if node.batch_norm:
            gamma = np.full(width, np.sqrt(1 + BATCH_NORM_EPSILON))
            given |= dict(zip(BATCH_NORM, (gamma, zeros, zeros, ones), strict=True))
        return given


def _enlarged(kernel: Array, old: Node, new: Node, axis: int) -> Array:
    """A kernel with zeros around it; its window lies along two axes from ``axis`` on."""
    sides = [(0, 0)] * kernel.ndim
    for i, before in enumerate(window_offset(old, new)):
        sides[axis + i] = (before, new.kernel[i] - old.kernel[i] - before)
    return np.pad(kernel, sides)
