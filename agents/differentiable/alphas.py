"""Architecture parameters: what a search by gradient learns beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from emnas_gym.branched.operations import SKIP
from predictors.supernet.mixture import softmax
from predictors.supernet.wiring import Wiring

Groups = dict[str, Tensor]
SPREAD = 1e-3  # standard deviation of the first parameters, as in DARTS


@dataclass(frozen=True)
class Alphas:
    """Parameters of every group of decisions.

    Attributes:
        wirings: Edges and operations of every group.
        operations: Of every group (edges, operations); of what an edge has not nothing is read.
        edges: Of every group (edges,), where edges have factors of their own (PC-DARTS).
    """

    wirings: Mapping[str, Wiring]
    operations: Groups
    edges: Groups | None = None

    @classmethod
    def drawn(
        cls, wirings: Mapping[str, Wiring], generator: torch.Generator, with_edges: bool = False
    ) -> Self:
        """Small random parameters that learn.

        Args:
            wirings: Edges and operations.
            generator: Draws them.
            with_edges: Whether edges have parameters too.
        """

        def small(*shape: int) -> Tensor:
            return (SPREAD * torch.randn(shape, generator=generator)).requires_grad_()

        operations = {group: small(*w.offered.shape) for group, w in wirings.items()}
        edges = {group: small(len(w.edges)) for group, w in wirings.items()} if with_edges else None
        return cls(wirings, operations, edges)

    @property
    def tensors(self) -> list[Tensor]:
        """All parameters."""
        return [*self.operations.values(), *(self.edges or {}).values()]

    def detached(self) -> Self:
        """The same values, of which no gradient is asked; later steps do not change them."""
        edges = {group: e.detach().clone() for group, e in (self.edges or {}).items()}
        operations = {group: a.detach().clone() for group, a in self.operations.items()}
        return type(self)(self.wirings, operations, edges if self.edges is not None else None)

    def probabilities(self) -> Groups:
        """Of every group the softmax of each edge, (edges, operations); 0 where there is none."""
        return {g: softmax(a, self.wirings[g].offered) for g, a in self.operations.items()}

    def factors(self) -> Groups | None:
        """Of every group a factor for each edge: a softmax over the edges into the same node.

        PC-DARTS, Xu et al. 2020, equation 4.
        """
        if self.edges is None:
            return None
        return {group: _normalised(e, self.wirings[group]) for group, e in self.edges.items()}


def _normalised(edges: Tensor, wires: Wiring) -> Tensor:
    targets = torch.tensor([target for _, target in wires.edges])
    same = targets[:, None] == targets[None, :]
    spread = torch.softmax(edges[None, :].masked_fill(~same, -torch.inf), dim=1)
    return torch.diagonal(spread)


def entropy(probabilities: Groups) -> float:
    """Mean entropy of an edge, nats; 0 where all edges are decided."""
    rows = torch.cat([torch.special.entr(p.detach()).sum(dim=1) for p in probabilities.values()])
    return float(rows.mean())


def skips(wirings: Mapping[str, Wiring], choices: Mapping[str, tuple[int, ...]]) -> int:
    """How many edges of a network are skips.

    Args:
        wirings: Edges and operations.
        choices: Of the network, by group (`CellSpace.choices`).
    """
    return sum(
        wirings[group].operations[edge][operation] == SKIP
        for group, chosen in choices.items()
        for edge, operation in wirings[group].chosen(chosen)
    )


def edge_names(wires: Wiring) -> list[str]:
    """Names of edges, such as ``0→1``."""
    return [f"{source}→{target}" for source, target in wires.edges]
