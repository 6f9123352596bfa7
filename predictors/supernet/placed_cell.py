"""A cell of a supernet at one place of the network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from predictors.network import GraphNetwork
from predictors.supernet.mixed_edge import MixedEdge
from predictors.supernet.mixture import Mixture
from predictors.supernet.wiring import Flags, Wiring


class PlacedCell(nn.Module):
    """All edges of a cell at one place.

    Args:
        wires: The cell.
        group: The decisions that it obeys.
        join: The residual block before it, if there is one.
        reads: 1×1 convolutions of its inputs; none where it reads one output as it is.
        edges: One for every edge of the wiring.
    """

    def __init__(
        self,
        wires: Wiring,
        group: str,
        join: GraphNetwork | None,
        reads: Sequence[GraphNetwork],
        edges: Sequence[MixedEdge],
    ) -> None:
        super().__init__()
        self.wires, self.group = wires, group
        self.join = join
        self.reads = nn.ModuleList(reads)
        self.edges = nn.ModuleList(edges)

    def forward(self, read: Sequence[Tensor], mixture: Mixture) -> Tensor:
        """The output of the cell.

        Args:
            read: Its inputs, the latest last.
            mixture: Of its decisions.

        Raises:
            InvalidArchitecture: If the output is not connected.
        """
        if self.reads:
            read = [module(x) for module, x in zip(self.reads, read, strict=True)]
        value: dict[int, Tensor] = dict(enumerate(read))
        runs = self.running(mixture)
        for node in range(self.wires.inputs, self.wires.values):
            ends = [
                self.edge(i)(value[source], mixture)
                for i, (source, target) in enumerate(self.wires.edges)
                if target == node and runs[i]
            ]
            if ends:
                value[node] = ends[0] if len(ends) == 1 else torch.stack(ends).sum(dim=0)
        outputs = [value[node] for node in self.wires.output()]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)

    def running(self, mixture: Mixture) -> Flags:
        """Which edges are computed: those on a way from an input to the output.

        Of binary gates those too that might be on one: what reads a node that is reached and
        feeds a node on a way.
        """
        live = self.wires.live(mixture.computed)
        if mixture.compared is None:
            return live
        there = self.wires.carried(mixture.computed)
        compared = self.wires.carried(mixture.compared)
        useful = {target for i, (_, target) in enumerate(self.wires.edges) if live[i]}
        reached, runs = set(range(self.wires.inputs)), np.zeros_like(live)
        for i, (source, target) in enumerate(self.wires.edges):
            runs[i] = source in reached and (there[i] or (compared[i] and target in useful))
            reached |= {target} if there[i] and source in reached else set()
        return runs

    def edge(self, number: int) -> MixedEdge:
        """An edge by its number."""
        found = self.edges[number]
        assert isinstance(found, MixedEdge)
        return found
