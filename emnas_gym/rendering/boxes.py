"""Layers as boxes: what a picture of a network is made of, also as plain data for reports."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from emnas_gym.graph import LayerGraph, Node, Shape

KINDS = {  # operation → kind of box
    "input": "input",
    "conv2d": "conv",
    "depthwise_conv2d": "depthwise",
    "dense": "dense",
    "max_pool2d": "pool",
    "avg_pool2d": "pool",
    "mean": "pool",
    "pad": "pad",
    "slice": "pad",
    "dropout": "dropout",
    "add": "join",
    "mul": "join",
    "concat": "join",
}
COLOURS = {  # fill of each kind on a light ground
    "input": "#55645e",
    "conv": "#2c6fb3",
    "depthwise": "#14917e",
    "dense": "#c98a16",
    "pool": "#7a5fb5",
    "pad": "#93a09a",
    "dropout": "#aab5b0",
    "join": "#a8437a",
    "output": "#b8551d",
}
LABELS = {
    "max_pool2d": "max pool",
    "avg_pool2d": "avg pool",
    "mean": "average",
    "slice": "slice",
    "mul": "product",
}
ABSORBED = ("sigmoid", "softmax")  # drawn as the activation of the box that they follow
WIDEST = 512  # channels or units at which a box is as wide, or a bar as tall, as it gets


@dataclass(frozen=True, slots=True)
class Box:
    """One layer of a picture.

    Attributes:
        op: The operation, one of `emnas_gym.graph.OPS`.
        shape: Output shape: (height, width, channels) or (units,).
        kernel: Window (height, width); (1, 1) where there is none.
        stride: Step of the window.
        activation: Name of the activation; ``"none"`` for none.
        label: Name for people, e.g. ``"conv"`` or ``"output"``.
        reads: Indices of the boxes that it reads.
    """

    op: str
    shape: Shape
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    activation: str = "none"
    label: str = ""
    reads: tuple[int, ...] = ()

    @property
    def kind(self) -> str:
        """A key of `COLOURS`."""
        return "output" if self.label == "output" else KINDS.get(self.op, "pad")

    @property
    def is_map(self) -> bool:
        """Whether it has height and width."""
        return len(self.shape) == 3

    @property
    def window(self) -> str:
        """Kernel and stride, e.g. ``3×3 /2``; empty where there is no window."""
        if self.kind not in ("conv", "depthwise") and self.op not in ("max_pool2d", "avg_pool2d"):
            return ""
        step = f" /{self.stride[0]}" if max(self.stride) > 1 else ""
        return f"{self.kernel[0]}×{self.kernel[1]}{step}"

    def extent(self, side: int) -> tuple[float, float, float]:
        """Width, height and depth of the box as shares of the room for one.

        Channels are on a logarithmic scale; a map's sides on a root scale, so that 1×1 is seen.

        Args:
            side: Longest side of all maps in the picture.
        """
        wide = min(math.log2(1 + self.shape[-1]) / math.log2(1 + WIDEST), 1.0)
        if not self.is_map:
            return 0.0, 0.15 + 0.85 * wide, 0.0
        height, width = (0.08 + 0.92 * math.sqrt(s / side) for s in self.shape[:2])
        return wide, height, width

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote; kernel and stride may be single numbers."""
        return cls(
            op=str(data["op"]),
            shape=tuple(int(s) for s in data["shape"]),
            kernel=_pair(data.get("kernel")),
            stride=_pair(data.get("stride")),
            activation=str(data.get("activation") or "none"),
            label=str(data.get("label") or LABELS.get(data["op"], KINDS.get(data["op"], ""))),
            reads=tuple(int(i) for i in data.get("reads", ())),
        )


def boxes(graph: LayerGraph) -> tuple[Box, ...]:
    """The boxes of a graph, which may still lack its output.

    A sigmoid or softmax becomes the activation of the box before it; a dense layer that ends in
    softmax is the output.
    """
    drawn: list[Box] = []
    box_of: list[int] = []
    for node in graph:
        if node.op in ABSORBED and drawn:
            source = box_of[node.inputs[0]]
            drawn[source] = _activated(drawn[source], node.op)
            box_of.append(source)
            continue
        box_of.append(len(drawn))
        drawn.append(_box(node, tuple(box_of[i] for i in node.inputs)))
    return tuple(drawn)


def describe(graph: LayerGraph) -> list[dict[str, Any]]:
    """The boxes of a graph as plain data, for reports."""
    return [box.to_json() for box in boxes(graph)]


def _box(node: Node, reads: tuple[int, ...]) -> Box:
    label = LABELS.get(node.op, KINDS.get(node.op, node.op))
    if node.op == "dropout":
        label = f"dropout {node.rate:g}"
    if max(node.dilation) > 1:
        label = f"dilated {label}"
    norm = "bn " if node.batch_norm else ""
    activation = norm + ("" if norm and node.activation == "none" else node.activation)
    return Box(node.op, node.shape, node.kernel, node.stride, activation.strip(), label, reads)


def _activated(box: Box, activation: str) -> Box:
    norm = "bn " if box.activation.startswith("bn") else ""
    label = "output" if activation == "softmax" else box.label
    return Box(box.op, box.shape, box.kernel, box.stride, norm + activation, label, box.reads)


def _pair(value: Any) -> tuple[int, int]:  # noqa: ANN401
    if value is None:
        return (1, 1)
    if isinstance(value, Sequence):
        return int(value[0]), int(value[-1])
    return int(value), int(value)


def shape_text(shape: Iterable[int]) -> str:
    """A shape such as ``16×16×8``."""
    return "×".join(str(side) for side in shape)
