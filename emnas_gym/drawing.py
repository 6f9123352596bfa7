"""What a picture of a network is made of: layers as boxes, costs as gauges, numbers as text.

`emnas_gym.rendering` lays these parts out on a canvas while a network grows; a report draws them
again from plain data (`describe`).
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from emnas_gym.graph import LayerGraph, Node, Shape
from emnas_gym.measurement import Measurement

KINDS = {  # operation → kind of box
    "input": "input",
    "conv2d": "conv",
    "depthwise_conv2d": "depthwise",
    "dense": "dense",
    "max_pool2d": "pool",
    "avg_pool2d": "pool",
    "mean": "pool",
    "pad": "pad",
    "dropout": "dropout",
    "add": "join",
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
}
ABSORBED = ("sigmoid", "softmax")  # drawn as the activation of the box that they follow
GAUGES = {  # what is shown against budgets, in this order
    "flash_bytes": "flash",
    "ram_bytes": "RAM",
    "macs": "MACs",
    "latency_ms": "latency",
    "energy_mj": "energy",
}
COUNTED = frozenset({"analytic", "emulated-insn"})  # a latency that follows from a count
Point = tuple[float, float]
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


@dataclass(frozen=True, slots=True)
class Gauge:
    """One cost against its limit.

    Attributes:
        name: A key of `GAUGES`.
        value: The cost; None where it is not known.
        limit: The budget; None where there is none.
        before: The cost without the last layer; what lies above it is shown as its share.
        usual: What is usual, where there is no limit to compare with.
        approximate: Whether the value follows from a count, and is shown with ``≈``.
    """

    name: str
    value: float | None
    limit: float | None = None
    before: float | None = None
    usual: float | None = None
    approximate: bool = False

    @property
    def title(self) -> str:
        """Name for people."""
        return GAUGES[self.name]

    @property
    def over(self) -> bool:
        """Whether the limit is broken."""
        return self.value is not None and self.limit is not None and self.value > self.limit

    @property
    def full(self) -> float:
        """Value at the right end of the bar: beyond the mark, and beyond the value."""
        value = self.value or 0.0
        if self.mark is None:
            return round_up(value)
        return max((1.25 if self.limit else 2.0) * self.mark, 1.05 * value)

    @property
    def mark(self) -> float | None:
        """Where the bar has its mark: the limit, else what is usual."""
        return self.usual if self.limit is None else self.limit

    @property
    def text(self) -> str:
        """The value with its unit."""
        if self.value is None:
            return "not known"
        return ("≈ " if self.approximate else "") + quantity(self.name, self.value)

    @property
    def limit_text(self) -> str:
        """The limit with its unit, else what is usual."""
        if self.mark is None:
            return "no limit"
        return ("usual " if self.limit is None else "of ") + quantity(self.name, self.mark)


def gauges(
    values: Mapping[str, float],
    limits: Mapping[str, float],
    *,
    before: Mapping[str, float] | None = None,
    usual: Mapping[str, float] | None = None,
    provenance: Mapping[str, str] | None = None,
) -> tuple[Gauge, ...]:
    """A gauge for each of `GAUGES` that has a value or a limit.

    Args:
        values: The costs.
        limits: The budgets that are set.
        before: The costs without the last layer.
        usual: What is usual, shown where there is no limit.
        provenance: Where each value comes from.
    """
    shown = [name for name in GAUGES if values.get(name) is not None or name in limits]
    return tuple(
        Gauge(
            name,
            values.get(name),
            limits.get(name),
            (before or {}).get(name),
            (usual or {}).get(name),
            name == "latency_ms" and (provenance or {}).get(name) in COUNTED,
        )
        for name in shown
    )


def known_values(measurement: Measurement) -> dict[str, float]:
    """The costs of a measurement that a gauge can show."""
    values = {name: getattr(measurement, name) for name in GAUGES}
    return {name: float(value) for name, value in values.items() if value is not None}


def round_up(value: float) -> float:
    """The next of 1, 2, 5 · 10ⁿ above a value."""
    if not value > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)


def quantity(name: str, value: float) -> str:
    """A measured number with its unit, for people.

    Args:
        name: Field of a measurement, e.g. ``"flash_bytes"``.
        value: Its value.
    """
    if name.endswith("_bytes"):
        return f"{value:,.0f} B" if value < 1024 else _scaled(value, 1024, ("KiB", "MiB", "GiB"))
    if name.endswith("_ms"):
        return f"{_significant(value)} ms"
    if name.endswith("_mj"):
        return f"{_significant(value)} mJ"
    if name == "accuracy":
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}" if value < 10_000 else _scaled(value, 1000, ("k", "M", "G"))


def shape_text(shape: Iterable[int]) -> str:
    """A shape such as ``16×16×8``."""
    return "×".join(str(side) for side in shape)


def _significant(value: float) -> str:
    if value == 0:
        return "0"
    digits = min(max(2 - math.floor(math.log10(abs(value))), 0), 6)
    return f"{value:,.{digits}f}"


def _scaled(value: float, base: int, units: Sequence[str]) -> str:
    """The value in the largest unit of which there is at least one."""
    power = min(max(int(math.log(value, base)), 1), len(units))
    scaled = value / base**power
    return f"{scaled:.{1 if scaled < 100 else 0}f} {units[power - 1]}"


def mix(colour: str, other: str, share: float) -> str:
    """A colour with a share of another."""
    pairs = [(int(colour[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round((1 - share) * a + share * b):02x}" for a, b in pairs)


class Canvas:
    """Shapes and text at pixels, y pointing down, painted by matplotlib's Agg.

    Args:
        width: In pixels.
        height: In pixels.
        ground: Colour of all that is not painted.

    Raises:
        DependencyNotInstalled: If matplotlib is missing.
    """

    def __init__(self, width: int, height: int, ground: str) -> None:
        figure = matplotlib_part("figure").Figure(figsize=(width / 100, height / 100), dpi=100)
        self._agg = matplotlib_part("backends.backend_agg").FigureCanvasAgg(figure)
        self._patches = matplotlib_part("patches")
        self._axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        self._axes.set_axis_off()
        figure.set_facecolor(ground)

    def polygon(self, points: Sequence[Point], fill: str, edge: str = "none") -> None:
        """A filled polygon."""
        patch = self._patches.Polygon(points, closed=True, facecolor=fill, edgecolor=edge, lw=0.8)
        self._axes.add_patch(patch)

    def bar(
        self, x: float, y: float, width: float, height: float, fill: str, *, behind: bool = False
    ) -> None:
        """A filled rectangle."""
        patch = self._patches.Rectangle((x, y), width, height, facecolor=fill, lw=0)
        patch.set_zorder(0 if behind else 1)
        self._axes.add_patch(patch)

    def line(self, points: Sequence[Point], colour: str, width: float = 1.0) -> None:
        """A polyline, behind all shapes."""
        xs, ys = zip(*points, strict=True)
        self._axes.plot(xs, ys, color=colour, lw=width, solid_capstyle="butt", zorder=0.9)

    def dots(self, points: Sequence[Point], colour: str, size: float = 3.0) -> None:
        """Filled circles of a diameter in points."""
        xs, ys = zip(*points, strict=True)
        self._axes.plot(xs, ys, "o", color=colour, ms=size, mew=0)

    def arc(self, start: Point, end: Point, colour: str) -> None:
        """A curve that leaps over what lies between."""
        curve = self._patches.FancyArrowPatch(
            start, end, arrowstyle="-", connectionstyle="arc3,rad=-0.3", color=colour, lw=1.2
        )
        self._axes.add_patch(curve)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 9.0,
        colour: str = "#000000",
        *,
        bold: bool = False,
        align: str = "left",
    ) -> None:
        """One line of text whose baseline stands at y."""
        plain = "".join(c if c.isprintable() and ord(c) < 0x2500 else "?" for c in text)
        weight = "bold" if bold else "normal"
        self._axes.text(
            x, y, plain, size=size, color=colour, weight=weight, ha=align, parse_math=False
        )

    def pixels(self) -> NDArray[np.uint8]:
        """All that was painted, shape (height, width, 3)."""
        self._agg.draw()
        return np.array(self._agg.buffer_rgba(), dtype=np.uint8)[..., :3].copy()


def matplotlib_part(module: str) -> Any:  # noqa: ANN401
    """Imports a module of matplotlib.

    Raises:
        DependencyNotInstalled: If matplotlib is missing.
    """
    try:
        return importlib.import_module(f"matplotlib.{module}")
    except ImportError as error:
        raise DependencyNotInstalled(
            "matplotlib is not installed, run `pip install 'emnas-gym[render]'`"
        ) from error
