"""Instructions of each operation of a network, on an emulated core with our firmware.

The firmware's PROFILE says how many ticks of its clock pass in each operator; under QEMU a tick is
a fixed number of instructions.

Resolution. One run tells an operator to one tick, 40 instructions. Runs begin anywhere within a
tick, so that their mean has no bias, and a standard error of at most 20 / √runs instructions. The
firmware's own bookkeeping between two operators, a few tens of instructions, is part of the count.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Self

import numpy as np

from emnas_gym.errors import UnknownName
from emnas_gym.graph import LayerGraph
from emnas_gym.operator_order import scheduled
from emnas_gym.split_sums import sum_of
from hardware.deployment import deploy
from hardware.drivers.framed import EmulatedDriver
from hardware.emulator import BOARDS
from hardware.errors import ProtocolError
from hardware.legalize import legalize, requantize
from hardware.program import Array
from hardware.random_weights import random_images, random_weights
from hardware.reading import Repeats

RUNS = 32  # standard error of at most 3.6 instructions an operator
ONCE = Repeats(timed=1, warm_up=0)


class OperatorCounter:
    """An emulated core that counts networks; a context manager that ends it.

    Args:
        core: ``"cortex-m3"``, ``"cortex-m4"`` or ``"cortex-m7"``.

    Raises:
        UnknownName: If no emulated board has that core.
        DeviceError: If it does not start.
        BackendMissing: If QEMU or pyserial is not installed.
    """

    def __init__(self, core: str) -> None:
        if core not in BOARDS:
            raise UnknownName("emulated core", core, BOARDS)
        self.core = core
        self._driver = EmulatedDriver(core)

    def count(
        self, graph: LayerGraph, weights: Mapping[str, Array] | None = None, runs: int = RUNS
    ) -> tuple[float, ...]:
        """Instructions of each node of a deployed graph but its input, mean over runs.

        What the network computes there is compared with the reference kernels first, to the bit.
        A node that becomes several operators, such as a sum of many, has the instructions of all.

        Args:
            graph: A graph without training-only operations.
            weights: By name; random ones if None, which take nearly the same instructions.
            runs: How many, at least one.

        Raises:
            DeviceRefused: If the network is too large for the board.
            ProtocolError: If it computes something else, or tells of other operators.
            DeviceError: If the board fails.
        """
        chosen = random_weights(graph) if weights is None else weights
        deployment = deploy(graph, chosen, random_images(graph.input_shape, 2))
        self._driver.measure(deployment, ONCE)
        run = scheduled(graph)
        origins = requantize(legalize(run)).origins[1:]
        ticks = np.zeros(len(run.nodes))
        for _ in range(max(1, runs)):
            each = self._driver.remote.profile(ONCE.seconds)
            if len(each) != len(origins):
                raise ProtocolError(f"{len(each)} operators profiled, of {len(origins)} sent")
            np.add.at(ticks, list(origins), each)
        instructions = ticks / max(1, runs) * BOARDS[self.core].instructions_a_tick
        named = dict.fromkeys((node.name for node in graph), 0.0)
        for node, count in zip(run, instructions, strict=True):
            named[node.name if node.name in named else sum_of(node)] += float(count)
        return tuple(named[node.name] for node in graph.nodes[1:])

    def close(self) -> None:
        """Ends the emulator; a second call does nothing."""
        self._driver.close()

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Ends the emulator."""
        self.close()
