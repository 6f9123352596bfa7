"""Expected latency as a part of the loss of an architecture: λ · E / reference."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from agents.differentiable.alphas import Alphas, Groups
from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.branched.free_cell import READS
from emnas_gym.tasks import Task
from predictors.lenna.expected import BlockLatency, ExpectedLatency, TableLatency
from predictors.lenna.latency_table import LatencyTable
from predictors.lenna.make_table import make_table
from predictors.lenna.network_file import load_network
from predictors.supernet.free_wiring import FreeWiring
from predictors.supernet.wiring import Wiring

FILE, NETWORK = ".json", ".network"


class LatencyTerm:
    """λ · E[latency] / reference (ProxylessNAS 2019, section 3.2; LENNA).

    The reference is the expected latency of even probabilities, so that λ means the same on every
    target: what a search would pay for all operations alike.

    Args:
        expected: Expected latency of probabilities.
        weight: λ.
        wirings: Edges and operations of the groups, in the order of the space.

    Attributes:
        reference: In the unit of ``expected``.

    Raises:
        DomainError: If the latency is of another space.
    """

    def __init__(
        self, expected: ExpectedLatency, weight: float, wirings: Mapping[str, Wiring]
    ) -> None:
        self.expected, self.weight, self.wirings = expected, weight, wirings
        even = {
            group: torch.from_numpy(w.offered / w.offered.sum(axis=1, keepdims=True)).float()
            for group, w in wirings.items()
        }
        self.reference = float(self.latency(even, None))

    @property
    def unit(self) -> str:
        """``"us"`` or ``"macs"``."""
        return self.expected.unit

    def latency(self, probabilities: Groups, factors: Groups | None) -> Tensor:
        """Expected latency, a scalar.

        Args:
            probabilities: Of every group (edges, operations).
            factors: Of every group (edges,), how strong edges are among those into their node.

        Raises:
            DomainError: If there is something else than probabilities among them.
        """
        given = []
        for group, wires in self.wirings.items():
            p = probabilities[group]
            if isinstance(wires, FreeWiring):  # two of the edges into a node will be there
                share = _even_shares(wires) if factors is None else factors[group]
                p = p * (READS * share).clamp(max=1.0)[:, None]
            given.append(p)
        found: Tensor = self.expected(given)
        return found

    def of(self, alphas: Alphas) -> Tensor:
        """Expected latency of architecture parameters; gradients flow to them."""
        return self.latency(alphas.probabilities(), alphas.factors())

    def loss(self, alphas: Alphas) -> Tensor | None:
        """What is added to the loss; None where λ is 0, so that nothing changes by a bit."""
        return self.weight * self.of(alphas) / self.reference if self.weight else None

    def of_path(self, masks: Mapping[str, np.ndarray]) -> float:
        """λ · latency / reference of one operation an edge, as REINFORCE is rewarded.

        Args:
            masks: Of every group bool (edges, operations), one operation an edge.
        """
        chosen = {group: torch.from_numpy(mask).float() for group, mask in masks.items()}
        return self.weight * float(self.latency(chosen, None)) / self.reference


def _even_shares(wires: Wiring) -> Tensor:
    targets = np.array(wires.edges)[:, 1]
    counts = (targets[:, None] == targets[None, :]).sum(axis=1)
    return torch.from_numpy(1.0 / counts).float()


def latency_of(
    target: str, space: CellSpace, task: Task, folder: Path | None = None
) -> ExpectedLatency:
    """What expects latency of networks of a space.

    Args:
        target: One of `predictors.lenna.targets.target_names`, or the path of a file: a table
            (`predictors.lenna.latency_table`), or a network that was fitted on LENNA's blocks
            (`predictors.lenna.network_file`).
        space: The space that is searched.
        task: What its networks are for.
        folder: Where a measured table is kept, so that the same search begun again reads what it
            read before: measuring this machine anew would change it.

    Raises:
        UnknownName: If there is no such target.
        SurrogateFileError: If a file is missing or damaged.
        DomainError: If it is of another space or task.
        EvaluationError: If the target cannot run an operation of the space.
    """
    if target.endswith(NETWORK):
        return BlockLatency.of_space(load_network(target), space)
    if target.endswith(FILE):
        return TableLatency(LatencyTable.load(target), space, task)
    kept = None if folder is None else folder / f"latency_{target.replace('/', '_')}{FILE}"
    if kept is not None and kept.is_file():
        return TableLatency(LatencyTable.load(kept), space, task)
    table = make_table(space, target, task)
    if kept is not None:
        table.save(kept)
    return TableLatency(table, space, task)
