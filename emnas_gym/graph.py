"""The one place that knows shapes: a framework-free DAG of operations.

A node is one operation of the deployed network. Batch norm is an attribute of a convolution
(training needs it, export folds it); ``dropout`` exists for training only and costs nothing.
Weights cross the project as ``Mapping[str, np.ndarray]`` with the names of `weight_shapes`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from emnas_gym.errors import ShapeError

Shape = tuple[int, ...]  # (height, width, channels) or (units,); the batch is never part of it
Pads = tuple[int, int, int, int]  # top, bottom, left, right

WINDOWS = frozenset({"conv2d", "depthwise_conv2d", "max_pool2d", "avg_pool2d"})
OPS = WINDOWS | {"input", "dense", "pad", "mean", "add", "concat", "sigmoid", "softmax", "dropout"}
TRAINING_ONLY = frozenset({"dropout"})
WEIGHTED = frozenset({"conv2d", "depthwise_conv2d", "dense"})
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
        padding: ``"valid"`` or ``"same"`` (TensorFlow's rule: the odd zero goes bottom and right).
        pads: Zeros around the map: resolved from ``padding`` for windows, as given for ``pad``.
        activation: Fused activation, one of `FUSED_ACTIVATIONS`.
        batch_norm: Whether a batch norm stands between the linear part and the activation.
        rate: Share of units that ``dropout`` sets to zero.
    """

    name: str
    op: str
    inputs: tuple[int, ...]
    shape: Shape
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: str = "valid"
    pads: Pads = (0, 0, 0, 0)
    activation: str = "none"
    batch_norm: bool = False
    rate: float = 0.0

    @property
    def size(self) -> int:
        """Number of elements of the output."""
        return math.prod(self.shape)


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
            kept.append(_replace_inputs(node, tuple(moved[j] for j in node.inputs)))
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


def window_output(size: int, kernel: int, stride: int, padding: str) -> tuple[int, int, int]:
    """Output length of a sliding window along one axis, and the zeros before and after.

    Raises:
        ShapeError: If a ``valid`` window is larger than the axis.
    """
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
        activation: str = "none",
        batch_norm: bool = False,
        reads: int | None = None,
    ) -> int:
        """Adds a convolution, depthwise convolution or pool; returns its index."""
        height, width, channels = self._map(op, reads)
        out_h, top, bottom = window_output(height, kernel, stride, padding)
        out_w, left, right = window_output(width, kernel, stride, padding)
        out_c = filters if op == "conv2d" else channels
        return self._add(
            op,
            (self._source(reads),),
            (out_h, out_w, out_c),
            kernel=(kernel, kernel),
            stride=(stride, stride),
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

    def mean(self, reads: int | None = None) -> int:
        """Adds the global average over the map, which keeps one value a channel."""
        return self._add("mean", (self._source(reads),), (1, 1, self._map("mean", reads)[2]))

    def pointwise(self, op: str, reads: int | None = None, rate: float = 0.0) -> int:
        """Adds ``sigmoid``, ``softmax`` or ``dropout``, which keep the shape."""
        source = self._source(reads)
        return self._add(op, (source,), self.nodes[source].shape, rate=rate)

    def join(self, op: str, reads: Sequence[int], activation: str = "none") -> int:
        """Adds ``add`` (equal shapes) or ``concat`` (along the channels) of several nodes.

        Raises:
            ShapeError: If the shapes do not go together.
        """
        shapes = [self.nodes[i].shape for i in reads]
        alike = {s if op == "add" else s[:-1] for s in shapes}
        if len(reads) < 2 or len(alike) != 1:
            raise ShapeError(f"{op} needs two or more inputs of like shape, not {shapes}")
        channels = shapes[0][-1] if op == "add" else sum(s[-1] for s in shapes)
        return self._add(op, tuple(reads), (*shapes[0][:-1], channels), activation=activation)

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

    def _add(
        self,
        op: str,
        inputs: tuple[int, ...],
        shape: Shape,
        *,
        kernel: tuple[int, int] = (1, 1),
        stride: tuple[int, int] = (1, 1),
        padding: str = "valid",
        pads: Pads = (0, 0, 0, 0),
        activation: str = "none",
        batch_norm: bool = False,
        rate: float = 0.0,
    ) -> int:
        if op not in OPS or activation not in FUSED_ACTIVATIONS or max(inputs) >= len(self.nodes):
            raise ShapeError(f"no operation {op!r} with activation {activation!r} on {inputs}")
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(
            Node(
                name, op, inputs, shape, kernel, stride, padding, pads, activation, batch_norm, rate
            )
        )
        return len(self.nodes) - 1


def _replace_inputs(node: Node, inputs: tuple[int, ...]) -> Node:
    return Node(
        node.name,
        node.op,
        inputs,
        node.shape,
        node.kernel,
        node.stride,
        node.padding,
        node.pads,
        node.activation,
        node.batch_norm,
        node.rate,
    )
