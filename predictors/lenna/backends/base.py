"""The contract of a backend, and the block alone as a graph that backends run."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from emnas_gym.branched.edge_cell import EdgeCell
from emnas_gym.branched.operations import OPERATIONS
from emnas_gym.errors import DatasetError
from emnas_gym.graph import GraphBuilder, LayerGraph
from emnas_gym.space import load_space
from predictors.lenna.columns import EDGES, SHAPE, offered
from predictors.lenna.gates import Array
from predictors.lenna.labels import TimedBlock

CLOCKS: dict[str, Callable[[], int]] = {"cpu": time.thread_time_ns, "wall": time.perf_counter_ns}
NAMES = ("simulated", "torch", "litert", "npu", "qemu")


@dataclass(frozen=True)
class Settings:
    """A backend and how it measures; two files with other settings are never mixed.

    Attributes:
        backend: One of `NAMES`.
        side: Height and width of the block's input; LENNA's is 32.
        forwards: Timed runs of one reset of the gates, whose 40 % quantile counts.
        batch: Images of one run (torch alone).
        warm_up: Runs before them.
        clock: ``"cpu"``: time of the thread that runs, which another program on the processor does
            not lengthen; or ``"wall"`` (torch and LiteRT, which run on one thread).
        precision: ``"int8"`` or ``"float32"`` (LiteRT alone).
        accelerator: The NPU.
        core: The emulated core.
        fusion: Share of an operation's time that is saved where it follows convolutions, whose
            map is in the cache (simulated alone).
        noise: Standard deviation of the logarithm of a time (simulated alone).
        spikes: Share of times that are ten times too long (simulated alone).
    """

    backend: str = "simulated"
    side: int = 32
    forwards: int = 10
    batch: int = 1
    warm_up: int = 2
    clock: str = "cpu"
    precision: str = "int8"
    accelerator: str = "ethos-u55-128"
    core: str = "cortex-m4"
    fusion: float = 0.0
    noise: float = 0.03
    spikes: float = 0.01

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
            DatasetError: If one is none of its kind.
        """
        if self.side < 2 or self.side % 2 or self.forwards < 1 or self.batch < 1:
            raise DatasetError(
                f"a block has an even side and is run once or more, not side {self.side}, "
                f"{self.forwards} forwards, batch {self.batch}"
            )
        if self.clock not in CLOCKS:
            raise DatasetError(f"the clock is one of {', '.join(CLOCKS)}, not {self.clock!r}")
        if self.precision not in ("int8", "float32"):
            raise DatasetError(f"precision is int8 or float32, not {self.precision!r}")

    def of(self, *names: str) -> dict[str, Any]:
        """Some of them, which a backend obeys, as plain data."""
        values = asdict(self)
        return {name: values[name] for name in ("backend", "side", "forwards", *names)}


class Backend(ABC):
    """Makes blocks that can be timed.

    Args:
        settings: How it measures.

    Attributes:
        repeats: Whether two runs of one reset may differ; one is enough otherwise.
    """

    repeats: ClassVar[bool] = True

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def forwards(self) -> int:
        """Timed runs of one reset."""
        return self.settings.forwards if self.repeats else 1

    @abstractmethod
    def environment(self) -> dict[str, Any]:
        """Settings and versions: what must be equal in one file of measurements."""

    @abstractmethod
    def block(self, reduction: bool, channels: int) -> TimedBlock:
        """A block.

        Args:
            reduction: Its type.
            channels: Of its input.

        Raises:
            MemoryError: If there is not enough.
        """

    @abstractmethod
    def alone_us(self, reduction: bool, channels: int) -> Array:
        """What each operation of a block takes alone, its share of the sums of nodes included.

        Returns:
            Microseconds, shape (15, 11); not a number where an edge has no such operation.
        """

    def close(self) -> None:
        """Ends what it holds; by default nothing."""
        return


def timed(run: Callable[[], object], settings: Settings, forwards: int) -> list[float]:
    """Microseconds of each of so many runs, after those that warm up.

    Args:
        run: What is timed.
        settings: Clock, and runs to warm up.
        forwards: Runs that are timed.
    """
    now, found = CLOCKS[settings.clock], []
    for _ in range(settings.warm_up):
        run()
    for _ in range(forwards):
        start = now()
        run()
        found.append((now() - start) / 1e3)
    return found


def block_cell(reduction: bool) -> EdgeCell:
    """LENNA's block of a type, from its space."""
    space = load_space("lenna-reduction" if reduction else "lenna-block")
    (cell,) = space.groups.values()
    assert isinstance(cell, EdgeCell)
    assert cell.edges == EDGES
    return cell


def block_graph(reduction: bool, channels: int, side: int, choices: tuple[int, ...]) -> LayerGraph:
    """The network of one reset: the block alone, with one operation on each edge.

    Args:
        reduction: Type of the block.
        channels: Of its input.
        side: Height and width of its input.
        choices: Index of each edge's operation.
    """
    builder = GraphBuilder((side, side, channels))
    cell = block_cell(reduction)
    width, stride = (2 * channels, 2) if reduction else (channels, 1)
    cell.assemble(builder, [0], width, stride, choices)
    return builder.build()


def alone_table(
    reduction: bool, channels: int, side: int, time_us: Callable[[LayerGraph], float]
) -> Array:
    """What each operation of a block takes alone; every distinct graph is timed once.

    Args:
        reduction: Type of the block.
        channels: Of its input.
        side: Height and width of its input.
        time_us: Microseconds of a graph.

    Returns:
        Shape (15, 11), as `Backend.alone_us`.
    """
    builder = GraphBuilder(
        (side // 2, side // 2, 2 * channels) if reduction else (side, side, channels)
    )
    builder.join("add", (0, 0))
    add_us = time_us(builder.build())
    known: dict[LayerGraph, float] = {}
    table = np.full(SHAPE, np.nan)
    for edge, (_, target) in enumerate(EDGES):
        for choice in np.flatnonzero(offered(reduction)[edge]).tolist():
            graph = operation_graph(reduction, channels, side, edge, choice)
            if graph not in known:
                known[graph] = time_us(graph) if len(graph.nodes) > 1 else 0.0
            table[edge, choice] = known[graph] + add_us * (target - 1) / target
    return table


@lru_cache(maxsize=4096)
def operation_graph(
    reduction: bool, channels: int, side: int, edge: int, choice: int
) -> LayerGraph:
    """One operation of a block alone; nothing but an input where it is the identity."""
    source, _ = EDGES[edge]
    first = reduction and source == 0
    inner = (side // 2, 2 * channels) if reduction else (side, channels)
    height, width = (side, channels) if first or not reduction else inner
    builder = GraphBuilder((height, height, width))
    lower = OPERATIONS[block_cell(reduction).operations[edge][choice]]
    assert lower is not None
    lower(builder, 0, inner[1], 2 if first else 1)
    return builder.build()
