"""Instructions a multiply-accumulate of our kernels, by kind of operation and emulated core.

Every kind is a network of that one operation, in two sizes: the smaller shows how much of the cost
does not grow with the work. Where an operation has no multiply-accumulates, the work is counted
in elements that it reads: a pool of 2 by 2 reads four for each that it writes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

from emnas_gym import costs
from emnas_gym.graph import GraphBuilder, LayerGraph, Node
from hardware.emulator import BOARDS
from hardware.operator_counts import RUNS, OperatorCounter

SIZES = ((6, 8), (12, 32))  # side and channels of the map that is read
ENOUGH = 8  # one run in so many tells the large map as well as all tell the small one


@dataclass(frozen=True)
class KernelCost:
    """What one kind of operation costs on one core.

    Attributes:
        kind: One of `KINDS`.
        core: The emulated core.
        unit: ``"MAC"``, or ``"element read"`` where there are none.
        small: Instructions a unit of work on the small map.
        large: The same on the large map.
    """

    kind: str
    core: str
    unit: str
    small: float
    large: float


Build = Callable[[GraphBuilder], object]


def _window(op: str, kernel: int, stride: int = 1, padding: str = "same") -> Build:
    def build(builder: GraphBuilder) -> None:
        builder.window(op, kernel, stride, padding, filters=builder.shape[-1], activation="none")

    return build


KINDS: dict[str, Build] = {
    "conv 1×1": _window("conv2d", 1),
    "conv 3×3": _window("conv2d", 3),
    "conv 5×5": _window("conv2d", 5),
    "depthwise 3×3": _window("depthwise_conv2d", 3),
    "depthwise 5×5": _window("depthwise_conv2d", 5),
    "dense": lambda builder: builder.dense(16),
    "max pool 2×2": _window("max_pool2d", 2, 2, "valid"),
    "average pool 2×2": _window("avg_pool2d", 2, 2, "valid"),
    "global average": lambda builder: builder.mean(),
    "add": lambda builder: builder.join("add", [0, 0]),
    "concat": lambda builder: builder.join("concat", [0, 0]),
    "pad": lambda builder: builder.pad((1, 1, 1, 1)),
    "sigmoid": lambda builder: builder.pointwise("sigmoid"),
    "softmax": lambda builder: builder.pointwise("softmax"),
}


def single(kind: str, side: int, channels: int) -> LayerGraph:
    """A network of one operation.

    Args:
        kind: One of `KINDS`.
        side: Height and width of its input.
        channels: Of its input.
    """
    builder = GraphBuilder((side, side, channels))
    KINDS[kind](builder)
    return builder.build()


def work(graph: LayerGraph, node: Node) -> tuple[int, str]:
    """How much a node does, and in what unit."""
    macs = costs.node_macs(graph, node)
    if macs:
        return macs, "MAC"
    if node.op in ("max_pool2d", "avg_pool2d"):
        return node.size * prod(node.kernel), "element read"
    return sum(prod(shape) for shape in graph.in_shapes(node)), "element read"


def kernel_costs(
    cores: Sequence[str] = tuple(BOARDS), kinds: Sequence[str] = tuple(KINDS), runs: int = RUNS
) -> list[KernelCost]:
    """Measures kinds of operations on emulated cores.

    Args:
        cores: Names of emulated cores.
        kinds: Of `KINDS`.
        runs: Over which instructions are averaged on the small map.

    Raises:
        UnknownName: If no emulated board has such a core.
        DeviceError: If the emulated board fails.
        BackendMissing: If QEMU or a package is not installed.
    """
    found = []
    for core in cores:
        with OperatorCounter(core) as counter:
            for kind in kinds:
                small, large = (single(kind, *size) for size in SIZES)
                rates = [_rate(counter, small, runs), _rate(counter, large, runs // ENOUGH)]
                unit = rates[0][1]
                found.append(KernelCost(kind, core, unit, rates[0][0], rates[1][0]))
    return found


def _rate(counter: OperatorCounter, graph: LayerGraph, runs: int) -> tuple[float, str]:
    amount, unit = work(graph, graph.nodes[-1])
    return sum(counter.count(graph, runs=runs)) / amount, unit
