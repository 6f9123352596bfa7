"""How well the number of operations tells what a network costs: random networks of one backbone.

MicroNets (arXiv 2010.11267) found that latency is linear in operations among the networks of one
backbone, 0.95 < r² < 0.99, while single layers scatter and the slope is another for another
backbone. Here the backbone is that of DS-CNN (arXiv 1711.07128) on a small map, its widths vary as
theirs did, from 10 to 100 % in steps of 10 %, and the cost is what our kernels execute on an
emulated core; the time of this machine stands beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from emnas_gym import costs
from emnas_gym.graph import GraphBuilder, LayerGraph, Shape
from hardware.export import export_int8
from hardware.operator_counts import OperatorCounter
from hardware.program import Array
from hardware.random_weights import random_images, random_weights
from hardware.timing import Protocol, time_models

STAGES = 5  # the first convolution and four separable ones
FULL = 64  # channels of every stage of the whole backbone
WIDTHS = tuple(4 * round(FULL * share / 40) for share in range(1, 11))  # multiples of four
INPUT_SHAPE = (16, 16, 1)
CLASSES = 10
QUICK = Protocol(rounds=30, block_ms=0.5, model_seconds=0.5)


@dataclass(frozen=True)
class Line:
    """A cost as a line in multiply-accumulates.

    Attributes:
        constant: At no multiply-accumulate.
        slope: A multiply-accumulate.
        r_squared: Share of the variance that the line explains.
    """

    constant: float
    slope: float
    r_squared: float


@dataclass(frozen=True)
class Proxy:
    """What the networks of one backbone showed.

    Attributes:
        core: The emulated core.
        macs: Of each network.
        instructions: Of each network on that core.
        emulated: Their line.
        host: The line of milliseconds on this machine; None if it was not timed.
    """

    core: str
    macs: tuple[int, ...]
    instructions: tuple[float, ...]
    emulated: Line
    host: Line | None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def backbone(
    widths: Sequence[int], input_shape: Shape = INPUT_SHAPE, classes: int = CLASSES
) -> LayerGraph:
    """A convolution of stride 2, then depthwise 3×3 and 1×1 for each further width.

    Args:
        widths: Channels of the first convolution and of each stage.
        input_shape: (height, width, channels).
        classes: Units of the last layer.
    """
    builder = GraphBuilder(input_shape)
    builder.window("conv2d", 3, 2, "same", filters=widths[0], activation="relu")
    for width in widths[1:]:
        builder.window("depthwise_conv2d", 3, 1, "same", activation="relu")
        builder.window("conv2d", 1, 1, "same", filters=width, activation="relu")
    builder.mean()
    builder.dense(classes)
    builder.pointwise("softmax")
    return builder.build()


def random_backbones(count: int, seed: int = 0) -> list[LayerGraph]:
    """Networks whose widths are drawn alike from `WIDTHS`."""
    rng = np.random.default_rng(seed)
    return [backbone([int(w) for w in rng.choice(WIDTHS, STAGES)]) for _ in range(count)]


def fit_line(x: Sequence[float], y: Sequence[float]) -> Line:
    """Least squares; ``r_squared`` is the squared correlation."""
    slope, constant = np.polyfit(np.asarray(x, float), np.asarray(y, float), 1)
    correlation = np.corrcoef(x, y)[0, 1]
    return Line(float(constant), float(slope), float(correlation**2))


def measure_proxy(
    count: int = 30, seed: int = 0, core: str = "cortex-m4", with_host: bool = True
) -> Proxy:
    """Counts random networks of the backbone, and times them here.

    Args:
        count: Networks, at least three.
        seed: Decides their widths.
        core: Name of an emulated core.
        with_host: Whether to time them on this machine too; wants the machine for itself.

    Raises:
        UnknownName: If no emulated board has that core.
        DeviceError: If the emulated board fails.
        BackendMissing: If QEMU or a package is not installed.
    """
    graphs = random_backbones(count, seed)
    macs = tuple(costs.macs(graph) for graph in graphs)
    with OperatorCounter(core) as counter:
        instructions = tuple(sum(counter.count(graph, runs=1)) for graph in graphs)
    host = fit_line(macs, _host_ms(graphs)) if with_host else None
    return Proxy(core, macs, instructions, fit_line(macs, instructions), host)


def _host_ms(graphs: Sequence[LayerGraph]) -> list[float]:
    return [timing.latency_ms for timing in time_models([_int8(g) for g in graphs], QUICK)]


def _int8(graph: LayerGraph) -> bytes:
    images: Array = random_images(graph.input_shape, 2)
    return export_int8(graph, random_weights(graph), images)
