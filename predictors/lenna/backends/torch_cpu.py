"""The block alone in torch on this machine's processor, one thread."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from emnas_gym.graph import LayerGraph
from hardware.versions import package_version
from predictors.lenna.backends.base import Backend, Settings, alone_table, operation_graph, timed
from predictors.lenna.columns import EDGES
from predictors.lenna.gates import Array, Gates
from predictors.lenna.labels import QUANTILE
from predictors.network import GraphNetwork
from predictors.training import one_thread


class TorchBlock:
    """A block whose operations are made when gates first choose them.

    Args:
        reduction: Type of the block.
        channels: Of its input.
        settings: Side, batch, runs to warm up.
    """

    def __init__(self, reduction: bool, channels: int, settings: Settings) -> None:
        self.reduction, self.channels, self.settings = reduction, channels, settings
        shape = (settings.batch, channels, settings.side, settings.side)
        self._images = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
        self._operations: dict[tuple[int, int], GraphNetwork] = {}

    def times_us(self, gates: Gates, forwards: int, rng: np.random.Generator) -> Array:
        """Times of resets; see `predictors.lenna.labels.TimedBlock`."""
        with one_thread(), torch.inference_mode():
            return np.array([self._of_reset(reset.tolist(), forwards) for reset in gates])

    def _of_reset(self, choices: list[int], forwards: int) -> list[float]:
        operations = [self._operation(edge, choice) for edge, choice in enumerate(choices)]
        return timed(lambda: self.forward(operations), self.settings, forwards)

    def forward(self, operations: list[GraphNetwork]) -> Tensor:
        """The block's output, every node the sum of its edges (N, C, H, W)."""
        values = [self._images]
        for edge, (source, target) in enumerate(EDGES):
            ran: Tensor = operations[edge](values[source])
            if target == len(values):
                values.append(ran)
            else:
                values[target] = values[target] + ran
        return values[-1]

    def _operation(self, edge: int, choice: int) -> GraphNetwork:
        """The operation of an edge; weights are random, which takes the same time."""
        if (edge, choice) not in self._operations:
            graph = operation_graph(self.reduction, self.channels, self.settings.side, edge, choice)
            self._operations[edge, choice] = GraphNetwork(graph).eval()
        return self._operations[edge, choice]


class TorchBackend(Backend):
    """Blocks on this machine's processor, one thread, evaluation mode."""

    def environment(self) -> dict[str, Any]:
        """Its settings and torch's version."""
        known = self.settings.of("batch", "warm_up", "clock")
        return {**known, "device": "cpu", "threads": 1, "torch": package_version("torch")}

    def block(self, reduction: bool, channels: int) -> TorchBlock:
        """A block; see `Backend.block`."""
        return TorchBlock(reduction, channels, self.settings)

    def alone_us(self, reduction: bool, channels: int) -> Array:
        """Each operation's time; see `Backend.alone_us`."""
        return alone_table(reduction, channels, self.settings.side, self._time_us)

    def _time_us(self, graph: LayerGraph) -> float:
        height, width, channels = graph.input_shape
        images = torch.zeros(self.settings.batch, channels, height, width)
        network = GraphNetwork(graph).eval()
        with one_thread(), torch.inference_mode():
            times = timed(lambda: network(images), self.settings, self.forwards)
        return float(np.quantile(times, QUANTILE))
