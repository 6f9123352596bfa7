"""The one place that knows shapes: a framework-free DAG of operations.

A node is one operation of the deployed network. Batch norm is an attribute of a convolution
(training needs it, export folds it); ``dropout`` exists for training only and costs nothing.
Weights cross the project as ``Mapping[str, np.ndarray]`` with the names of `weight_shapes`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from emnas_gym.errors import ShapeError

Shape = tuple[int, ...]  # (height, width, channels) or (units,); the batch is never part of it
Pads = tuple[int, int, int, int]  # top, bottom, left, right
Place = tuple[int, int, int]  # height, width, channel

WINDOWS = frozenset({"conv2d", "depthwise_conv2d", "max_pool2d", "avg_pool2d"})
JOINS = frozenset({"add", "mul", "concat"})
POINTWISE = frozenset({"sigmoid", "softmax", "dropout"})
OPS = WINDOWS | JOINS | POINTWISE | {"input", "dense", "pad", "slice", "mean"}
TRAINING_ONLY = frozenset({"dropout"})
WEIGHTED = frozenset({"conv2d", "depthwise_conv2d", "dense"})
DILATED = frozenset({"conv2d", "depthwise_conv2d"})
FUSED_ACTIVATIONS = frozenset({"none", "relu", "relu6"})


@dataclass(frozen=True, slots=True)
class Node:
    """One operation and the shape of what it returns.

    Attributes:
        name: Unique in its graph; the prefix of its weights' names.
        op: One of `OPS`.
        inputs: Indices of the nodes whose outputs it reads, each smaller than its own.
        shape: Output shape without the batch.
        kernel: Window (height, width) of convolutions and pools.
        stride: Step of the window (height, width).
        dilation: Step between the taps of a convolution's window (height, width).
        padding: ``"valid"`` or ``"same"`` (TensorFlow's rule: the odd zero goes bottom and right).
        pads: Zeros around the map: resolved from ``padding`` for windows, as given for ``pad``.
        activation: Fused activation, one of `FUSED_ACTIVATIONS`.
        batch_norm: Whether a batch norm stands between the linear part and the activation.
        rate: Share of units that ``dropout`` sets to zero.
        begin: First element that ``slice`` takes (height, width, channel).
        step: 2 where it takes every second element from there on, and so on; along each axis.
    """

    name: str
    op: str
    inputs: tuple[int, ...]
    shape: Shape
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: str = "valid"
    pads: Pads = (0, 0, 0, 0)
    activation: str = "none"
    batch_norm: bool = False
    rate: float = 0.0
    begin: Place = (0, 0, 0)
    step: Place = (1, 1, 1)

    @property
    def size(self) -> int:
        """Number of elements of the output."""
        return math.prod(self.shape)

    @property
    def end(self) -> Shape:
        """One beyond the last element that ``slice`` takes (height, width, channel)."""
        axes = zip(self.begin, self.step, self.shape, strict=True)
        return tuple(begin + (count - 1) * step + 1 for begin, step, count in axes)


@dataclass(frozen=True)
class LayerGraph:
    """Nodes in topological order; the first is the input, the last the output."""

    nodes: tuple[Node, ...]

    @property
    def input_shape(self) -> Shape:
        """Shape of the input without the batch."""
        return self.nodes[0].shape

    @property
    def output_shape(self) -> Shape:
        """Shape of the output without the batch."""
        return self.nodes[-1].shape

    @property
    def is_chain(self) -> bool:
        """True if every node reads exactly the node before it."""
        return all(node.inputs == (i,) for i, node in enumerate(self.nodes[1:]))

    def in_shapes(self, node: Node) -> tuple[Shape, ...]:
        """Shapes of what ``node`` reads."""
        return tuple(self.nodes[i].shape for i in node.inputs)

    def __iter__(self) -> Iterator[Node]:
        """Iterates over the nodes in topological order."""
        return iter(self.nodes)

    def deployed(self) -> LayerGraph:
        """The same graph without the operations that exist for training only."""
        if not any(node.op in TRAINING_ONLY for node in self.nodes):
            return self
        kept: list[Node] = []
        moved: dict[int, int] = {}
        for i, node in enumerate(self.nodes):
            if node.op in TRAINING_ONLY:
                moved[i] = moved[node.inputs[0]]
                continue
            moved[i] = len(kept)
            kept.append(replace(node, inputs=tuple(moved[j] for j in node.inputs)))
        return LayerGraph(tuple(kept))

    def weight_shapes(self) -> dict[str, Shape]:
        """Names and shapes of all weights, in order.

        Kernels are (out, height, width, in) for ``conv2d``, (height, width, channels) for
        ``depthwise_conv2d`` and (units, inputs) for ``dense``, whose inputs are flattened in the
        order height, width, channels.
        """
        shapes: dict[str, Shape] = {}
        for node in self.nodes:
            if node.op not in WEIGHTED:
                continue
            channels = node.shape[-1]
            shapes[f"{node.name}/kernel"] = kernel_shape(node, self.in_shapes(node)[0])
            shapes[f"{node.name}/bias"] = (channels,)
            if node.batch_norm:
                for part in ("gamma", "beta", "mean", "variance"):
                    shapes[f"{node.name}/{part}"] = (channels,)
        return shapes


def kernel_shape(node: Node, in_shape: Shape) -> Shape:
    """Shape of the kernel of a weighted node that reads ``in_shape``."""
    if node.op == "conv2d":
        return (node.shape[-1], *node.kernel, in_shape[-1])
    if node.op == "depthwise_conv2d":
        return (*node.kernel, node.shape[-1])
    return (node.shape[-1], math.prod(in_shape))


def window_output(
    size: int, kernel: int, stride: int, padding: str, dilation: int = 1
) -> tuple[int, int, int]:
    """Output length of a sliding window along one axis, and the zeros before and after.

    Raises:
        ShapeError: If a ``valid`` window, its taps ``dilation`` apart, is larger than the axis.
    """
    kernel = (kernel - 1) * dilation + 1
    if padding == "same":
        out = -(-size // stride)
        total = max((out - 1) * stride + kernel - size, 0)
        return out, total // 2, total - total // 2
    if kernel > size:
        raise ShapeError(f"a window of {kernel} does not fit a map of {size} without padding")
    return (size - kernel) // stride + 1, 0, 0


@dataclass
class GraphBuilder:
    """Adds operations one by one and infers every shape.

    Args:
        input_shape: (height, width, channels) or (units,).
    """

    input_shape: Shape
    nodes: list[Node] = field(init=False)

    def __post_init__(self) -> None:
        """Starts the graph with its input."""
        if not self.input_shape or min(self.input_shape) < 1:
            raise ShapeError(f"an input of shape {self.input_shape} has no elements")
        self.nodes = [Node("input", "input", (), tuple(self.input_shape))]

    @property
    def shape(self) -> Shape:
        """Shape of the last node."""
        return self.nodes[-1].shape

    def window(
        self,
        op: str,
        kernel: int,
        stride: int,
        padding: str,
        *,
        filters: int = 0,
        dilation: int = 1,
        activation: str = "none",
        batch_norm: bool = False,
        reads: int | None = None,
    ) -> int:
        """Adds a convolution, depthwise convolution or pool; returns its index.

        Raises:
            ShapeError: If the window does not fit the map, or a pool is to be dilated.
        """
        if dilation < 1 or (dilation > 1 and op not in DILATED):
            raise ShapeError(f"{op} cannot have a dilation of {dilation}")
        height, width, channels = self._map(op, reads)
        out_h, top, bottom = window_output(height, kernel, stride, padding, dilation)
        out_w, left, right = window_output(width, kernel, stride, padding, dilation)
        out_c = filters if op == "conv2d" else channels
        return self._add(
            op,
            (self._source(reads),),
            (out_h, out_w, out_c),
            kernel=(kernel, kernel),
            stride=(stride, stride),
            dilation=(dilation, dilation),
            padding=padding,
            pads=(top, bottom, left, right),
            activation=activation,
            batch_norm=batch_norm,
        )

    def dense(self, units: int, activation: str = "none", reads: int | None = None) -> int:
        """Adds a dense layer over all that its input holds, flattened."""
        return self._add("dense", (self._source(reads),), (units,), activation=activation)

    def pad(self, pads: Pads, reads: int | None = None) -> int:
        """Adds explicit zeros around the map."""
        height, width, channels = self._map("pad", reads)
        top, bottom, left, right = pads
        shape = (height + top + bottom, width + left + right, channels)
        return self._add("pad", (self._source(reads),), shape, pads=pads)

    def slice(self, begin: Place, end: Place, step: Place, reads: int | None = None) -> int:
        """Adds the part of a map from ``begin`` to before ``end``, every ``step``-th element.

        Args:
            begin: First element (height, width, channel), counted from 0.
            end: One beyond the last element that may be taken; it is clipped to the map.
            step: 1 for every element, 2 for every second one.
            reads: What it reads; the last node if None.

        Raises:
            ShapeError: If nothing is left, or a step is below 1.
        """
        source = self._map("slice", reads)
        axes = zip(begin, end, step, source, strict=True)
        ranges = [range(b, min(e, size), max(s, 1)) for b, e, s, size in axes]
        if min(begin) < 0 or min(step) < 1 or not all(ranges):
            raise ShapeError(f"a slice from {begin} to {end} by {step} takes nothing of {source}")
        shape = tuple(map(len, ranges))
        steps = tuple(r.step if len(r) > 1 else 1 for r in ranges)  # with one element none is made
        return self._add("slice", (self._source(reads),), shape, begin=begin, step=steps)

    def mean(self, reads: int | None = None) -> int:
        """Adds the global average over the map, which keeps one value a channel."""
        return self._add("mean", (self._source(reads),), (1, 1, self._map("mean", reads)[2]))

    def pointwise(self, op: str, reads: int | None = None, rate: float = 0.0) -> int:
        """Adds ``sigmoid``, ``softmax`` or ``dropout``, which keep the shape."""
        source = self._source(reads)
        return self._add(op, (source,), self.nodes[source].shape, rate=rate)

    def join(self, op: str, reads: Sequence[int], activation: str = "none") -> int:
        """Adds ``add``, ``mul`` or ``concat`` of several nodes.

        Shapes are equal; ``concat`` joins along the channels, so that these may differ, and ``mul``
        takes (1, 1, channels) as well, which weighs the channels of a map.

        Raises:
            ShapeError: If the shapes do not go together.
        """
        shapes = [self.nodes[i].shape for i in reads]
        shape = _joined(op, shapes) if len(shapes) > 1 else None
        if shape is None:
            raise ShapeError(f"{op} needs two or more inputs of like shape, not {shapes}")
        return self._add(op, tuple(reads), shape, activation=activation)

    def build(self) -> LayerGraph:
        """Returns the finished graph."""
        return LayerGraph(tuple(self.nodes))

    def _source(self, reads: int | None) -> int:
        return len(self.nodes) - 1 if reads is None else reads

    def _map(self, op: str, reads: int | None) -> Shape:
        shape = self.nodes[self._source(reads)].shape
        if len(shape) != 3:
            raise ShapeError(f"{op} needs a map (height, width, channels), not {shape}")
        return shape

    def _add(self, op: str, inputs: tuple[int, ...], shape: Shape, **options: Any) -> int:  # noqa: ANN401
        activation = options.get("activation", "none")
        if op not in OPS or activation not in FUSED_ACTIVATIONS or max(inputs) >= len(self.nodes):
            raise ShapeError(f"no operation {op!r} with activation {activation!r} on {inputs}")
        self.nodes.append(Node(f"{op}_{len(self.nodes)}", op, inputs, shape, **options))
        return len(self.nodes) - 1


def _joined(op: str, shapes: Sequence[Shape]) -> Shape | None:
    """Shape of several outputs joined; None if they do not go together."""
    first = max(shapes, key=math.prod)
    if op == "concat":
        alike = {shape[:-1] for shape in shapes} == {first[:-1]}
        return (*first[:-1], sum(shape[-1] for shape in shapes)) if alike else None
    allowed = {first, (1, 1, first[-1])} if op == "mul" and len(first) == 3 else {first}
    return first if set(shapes) <= allowed else None
