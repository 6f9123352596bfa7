"""Expected latency of a network as a torch module, for search by gradient.

A search keeps probabilities of operations on edges. Here they become the latency that a network
drawn from them takes on average, one number that gradients flow through, so that a loss can be
``task loss + λ · latency(probabilities) / reference`` (ProxylessNAS 2018, section 3.2; LENNA).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.branched.free_cell import READS, FreeCell
from emnas_gym.errors import DomainError
from emnas_gym.tasks import Task
from predictors.lenna.latency_table import LatencyTable
from predictors.lenna.operation_sites import cell_edges

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
    """The exact expectation of a sum: Σ p · L over edges and operations, and a constant.

    Its gradient with respect to architecture parameters whose softmax an edge's probabilities are,
    is p_j · (L_j - E), where E is the edge's own expectation.

    Edges count whether or not something leads to them: what ``none`` cuts off elsewhere is counted
    too much, until probabilities have settled. `LatencyTable.total` knows of a network which of its
    edges run.

    Args:
        table: Costs of operations.
        space: The space that is searched; checked against the table if given.
        task: The task that is searched for; likewise.

    Raises:
        DomainError: If the table is of another space or task.
    """

    def __init__(
        self, table: LatencyTable, space: CellSpace | None = None, task: Task | None = None
    ) -> None:
        super().__init__()
        if (space is None) != (task is None):
            raise DomainError("a table is checked against a space and a task: give both, or none")
        if space is not None and task is not None:
            table.check(space, task)
        self.table, self.unit = table, table.unit
        self.shapes = tuple((costs.shape[0], costs.shape[1]) for costs in table.groups.values())
        for i, costs in enumerate(table.groups.values()):
            self.register_buffer(f"costs{i}", torch.from_numpy(costs).nan_to_num(nan=0.0))
            self.register_buffer(f"offered{i}", torch.from_numpy(costs).isfinite())

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

    def expected(self, probabilities: list[Tensor]) -> Tensor:
        """Sum over all edges, and the constant."""
        edges = torch.cat(self.of_edges(probabilities))
        return edges.sum() + self.table.constant


def edge_probabilities(cell: FreeCell, positions: Sequence[Tensor]) -> Tensor:
    """How likely each edge of a cell of free edges is there with each operation.

    Args:
        cell: The cell.
        positions: For each of its positions the probabilities of its choices, shape (choices,).

    Returns:
        Shape (edges, operations), rows as `predictors.lenna.operation_sites.cell_edges` names them;
        the rows that end at one node sum to 2 together, since it reads two.

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
    assert len(rows) == len(cell_edges(cell))
    return torch.stack(rows)
