"""Expected latency of a network as a torch module, for search by gradient.

A search keeps probabilities of operations on edges. Here they become the latency that a network
drawn from them takes on average, one number that gradients flow through, so that a loss can be
``task loss + λ · latency(probabilities) / reference`` (ProxylessNAS 2018, section 3.2; LENNA).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.branched.free_cell import READS, FreeCell
from emnas_gym.errors import DomainError
from emnas_gym.tasks import Task
from predictors.lenna.columns import SHAPE
from predictors.lenna.latency_table import LatencyTable
from predictors.lenna.network import SPACES, BlockNetwork
from predictors.supernet.wirings import wiring

Shape = tuple[int, int]


class ExpectedLatency(nn.Module, ABC):
    """Probabilities of operations in, expected latency out.

    Attributes:
        shapes: (edges, operations) of each tensor that it reads, one a group of decisions.
        unit: ``"us"``, microseconds, or ``"macs"``.
    """

    shapes: tuple[Shape, ...]
    unit: str

    def forward(self, probabilities: Sequence[Tensor]) -> Tensor:
        """The expected latency, a scalar in `unit`.

        Args:
            probabilities: One tensor a group, in the order of ``space.groups``, each of shape
                (edges, operations): how likely an edge is there with an operation. Rows sum to 1
                where edges are fixed; for free edges see `edge_probabilities`. 0 where an edge has
                no such operation.

        Raises:
            DomainError: If there are other groups, shapes, or numbers that are no probabilities.
        """
        shapes = tuple(tuple(p.shape) for p in probabilities)
        if shapes != self.shapes:
            raise DomainError(
                f"probabilities of shapes {shapes}, where the latency is of a space with "
                f"{self.shapes}: one tensor a group of decisions, (edges, operations)"
            )
        for p in probabilities:
            if not bool(((p >= 0) & (p <= 1 + 1e-4)).all()):
                raise DomainError(
                    "probabilities lie in 0 … 1; there is NaN or something else among them: check "
                    "the architecture parameters and the step size of their optimiser"
                )
        return self.expected(list(probabilities))

    @abstractmethod
    def expected(self, probabilities: list[Tensor]) -> Tensor:
        """The latency of checked probabilities; subclasses compute it."""


class TableLatency(ExpectedLatency):
    """The exact expectation of Σ p · L over edges and operations, of sums, and a constant.

    An edge that runs with probability q runs or not whatever the others do, so that the edges into
    a node make Σ q - 1 + Π (1 - q) sums of two on average: one less than there are, if any are.
    Where sums cost nothing, the gradient with respect to architecture parameters whose softmax an
    edge's probabilities are, is p_j · (L_j - E), where E is the edge's own expectation.

    Edges count whether or not something leads to them: what ``none`` cuts off elsewhere is counted
    too much, until probabilities have settled. `LatencyTable.total` knows of a network which of its
    edges run.

    Args:
        table: Costs of operations.
        space: The space that is searched; checked against the table if given.
        task: The task that is searched for; likewise.

    Raises:
        DomainError: If the table is of another space or task, or has costs of sums and no space
            says which edges end at one node.
    """

    def __init__(
        self, table: LatencyTable, space: CellSpace | None = None, task: Task | None = None
    ) -> None:
        super().__init__()
        if (space is None) != (task is None):
            raise DomainError("a table is checked against a space and a task: give both, or none")
        if space is not None and task is not None:
            table.check(space, task)
        if table.has_sums and space is None:
            raise DomainError("a table in which sums cost something is read with its space")
        self.table, self.unit = table, table.unit
        self.shapes = tuple((costs.shape[0], costs.shape[1]) for costs in table.groups.values())
        for i, costs in enumerate(table.groups.values()):
            self.register_buffer(f"costs{i}", torch.from_numpy(costs).nan_to_num(nan=0.0))
            self.register_buffer(f"offered{i}", torch.from_numpy(costs).isfinite())
        self._with_sums: list[int] = []  # numbers of groups
        for i, (group, costs) in enumerate(table.sums.items()):
            if space is not None and costs.any():
                self._with_sums.append(i)
                wires = wiring(space.groups[group])
                self.register_buffer(f"carrying{i}", torch.from_numpy(wires.carrying))
                self.register_buffer(f"into{i}", torch.from_numpy(wires.into))
                self.register_buffer(f"sums{i}", torch.from_numpy(wires.into * costs).amax(dim=1))

    def of_edges(self, probabilities: list[Tensor]) -> list[Tensor]:
        """Expectation of each edge, one tensor of shape (edges,) a group.

        Raises:
            DomainError: If an operation has a probability on an edge that does not offer it.
        """
        found = []
        for i, p in enumerate(probabilities):
            if bool((p * ~self.get_buffer(f"offered{i}") > 0).any()):
                raise DomainError(
                    "an edge has a probability for an operation that it does not have"
                )
            found.append((p * self.get_buffer(f"costs{i}").to(p.dtype)).sum(dim=1))
        return found

    def of_sums(self, probabilities: list[Tensor]) -> Tensor:
        """Expectation of all sums, a scalar."""
        total = probabilities[0].new_zeros(())
        for i in self._with_sums:
            total = total + self._of_sums(i, probabilities[i])
        return total

    def _of_sums(self, group: int, p: Tensor) -> Tensor:
        into = self.get_buffer(f"into{group}")  # (nodes, edges)
        runs = (p * self.get_buffer(f"carrying{group}")).sum(dim=1)
        none = torch.where(into, 1 - runs, torch.ones_like(runs)).prod(dim=1)
        made = (into * runs).sum(dim=1) - 1 + none
        return (made * self.get_buffer(f"sums{group}").to(p.dtype)).sum()

    def expected(self, probabilities: list[Tensor]) -> Tensor:
        """Sum over all edges and all sums of them, and the constant."""
        edges = torch.cat(self.of_edges(probabilities))
        return edges.sum() + self.of_sums(probabilities) + self.table.constant


@dataclass(frozen=True)
class Block:
    """A block of a network.

    Attributes:
        reduction: Whether it halves the map.
        channels: Of its input.
    """

    reduction: bool
    channels: int


class BlockLatency(ExpectedLatency):
    """The sum of what LENNA's fitted network expects of blocks.

    The network itself is frozen: gradients flow through it to the probabilities alone.

    Args:
        network: Fitted on blocks of these types and widths.
        blocks: One for each tensor of probabilities, (15, 11), in their order.
        constant_us: Of all that is not searched.

    Raises:
        DomainError: If a block is of a type or width that the network was not fitted on.
    """

    def __init__(
        self, network: BlockNetwork, blocks: Sequence[Block], constant_us: float = 0.0
    ) -> None:
        super().__init__()
        for block in blocks:
            network.check_block(block.reduction, block.channels)
        self.network, self.blocks, self.constant_us = network, tuple(blocks), constant_us
        self.unit = "us"
        self.shapes = (SHAPE,) * len(self.blocks)
        self.network.requires_grad_(False)

    @classmethod
    def of_space(
        cls, network: BlockNetwork, space: CellSpace, constant_us: float = 0.0
    ) -> BlockLatency:
        """The latency of the one block of ``lenna-block`` or ``lenna-reduction``.

        Raises:
            DomainError: If it is another space, or the network does not know its block.
        """
        network.check_space(space)
        reduction = space.name.partition("@")[0] == SPACES[True]
        return cls(network, [Block(reduction, space.skeleton.channels)], constant_us)

    def expected(self, probabilities: list[Tensor]) -> Tensor:
        """Sum over all blocks, and the constant."""
        stacked = torch.stack(probabilities)
        kinds = torch.tensor([b.reduction for b in self.blocks], device=stacked.device)
        widths = torch.tensor([float(b.channels) for b in self.blocks], device=stacked.device)
        found: Tensor = self.network(kinds, widths, stacked).sum() + self.constant_us
        return found.to(stacked.dtype)


def edge_probabilities(cell: FreeCell, positions: Sequence[Tensor]) -> Tensor:
    """How likely each edge of a cell of free edges is there with each operation.

    Args:
        cell: The cell.
        positions: For each of its positions the probabilities of its choices, shape (choices,).

    Returns:
        Shape (edges, operations), rows as `predictors.supernet.wiring` has them; those that end at
        one node sum to 2 together, since it reads two.

    Raises:
        DomainError: If there are not as many positions, or one has other choices.
    """
    sizes = [len(position.choices) for position in cell.positions]
    if [len(p) for p in positions] != sizes:
        raise DomainError(f"positions have {[len(p) for p in positions]} choices, not {sizes}")
    given, rows = iter(positions), []
    for node, pairs in enumerate(cell.pairs):
        reads = next(given) if len(pairs) > 1 else positions[0].new_ones(1)
        operations = [next(given) for _ in range(READS)]
        for source in range(cell.inputs + node):
            row = torch.zeros_like(operations[0])
            for i in range(READS):
                which = [j for j, pair in enumerate(pairs) if pair[i] == source]
                row = row + reads[which].sum() * operations[i]
            rows.append(row)
    assert len(rows) == len(wiring(cell).edges)
    return torch.stack(rows)
