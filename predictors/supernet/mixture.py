"""How the operations of a cell are mixed: weights, and which operations are computed at all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emnas_gym.errors import InvalidArchitecture
from predictors.supernet.wiring import Mask


@dataclass(frozen=True, eq=False)
class Mixture:
    """What one group of decisions is for one forward pass.

    An edge returns the sum of weight × operation over its computed operations; what is not computed
    costs nothing and takes no memory. Gradients flow into ``weights``, and into ``edges``.

    - *Soft* (`soft`): all are computed, as in DARTS.
    - *One path* (`path`): one operation an edge is computed. With hard weights that have the
      gradient of soft ones (straight-through, GDAS) the gradient of what is computed reaches all
      parameters through the softmax.
    - *Binary gates* (`gates`), ProxylessNAS: one operation an edge is computed and its gate is 1,
      whatever its weight; the gradient of every compared operation j is ⟨∂L/∂output, j(x)⟩, for
      which the backward pass computes j once more, one at a time and without a graph of its own.
      Memory does not depend on the number of operations. ``none`` has gradient 0, and so has what
      reads or feeds a node that the path does not reach.

    Attributes:
        weights: (edges, operations); where an edge has fewer operations the rest is not read.
        computed: Which operations are computed, shape (edges, operations).
        compared: Binary gates: the operations whose gates have a gradient; None for no gates.
        edges: Factor of every edge, shape (edges,), as in PC-DARTS; None for 1.
        auxiliary: Factor of a further way without parameters beside every edge, as in DARTS-minus.
    """

    weights: Tensor
    computed: Mask
    compared: Mask | None = None
    edges: Tensor | None = None
    auxiliary: float = 0.0

    def __post_init__(self) -> None:
        """Checks shapes and numbers."""
        shape = tuple(self.weights.shape)
        for mask in (self.computed, self.compared):
            if mask is not None and (mask.shape != shape or mask.dtype != bool):
                raise InvalidArchitecture(
                    f"a mixture of weights {shape} needs masks of that shape, not {mask.shape}"
                )
        if self.edges is not None and tuple(self.edges.shape) != shape[:1]:
            raise InvalidArchitecture(
                f"factors of {shape[0]} edges have the shape ({shape[0]},), "
                f"not {tuple(self.edges.shape)}"
            )
        if self.compared is not None and (self.computed.sum(axis=1) != 1).any():
            raise InvalidArchitecture("binary gates compute exactly one operation of every edge")
        if not np.isfinite(self.values[self.computed]).all():
            raise InvalidArchitecture(
                "a weight of the mixture is no finite number: the architecture parameters have "
                "diverged; a smaller learning rate keeps them"
            )

    @cached_property
    def values(self) -> NDArray[np.float64]:
        """The weights as plain numbers."""
        return np.asarray(self.weights.detach().cpu().numpy(), dtype=np.float64)

    def with_edges(self, edges: Tensor) -> Mixture:
        """The same with a factor for every edge."""
        return replace(self, edges=edges)

    def with_auxiliary(self, factor: float) -> Mixture:
        """The same with the further way of DARTS-minus, whose factor decays to 0."""
        return replace(self, auxiliary=factor)


def soft(weights: Tensor, offered: Mask) -> Mixture:
    """All operations are computed.

    Args:
        weights: (edges, operations).
        offered: Which there are: `Wiring.offered`, or fewer, where some are masked out.
    """
    return Mixture(weights, offered)


def path(weights: Tensor, computed: Mask) -> Mixture:
    """One operation an edge is computed, or none where the mask is empty.

    Args:
        weights: (edges, operations), e.g. ``hard - probabilities.detach() + probabilities``.
        computed: Which operations are computed, e.g. `one_hot`.
    """
    return Mixture(weights, computed)


def gates(weights: Tensor, active: Mask, compared: Mask | None = None) -> Mixture:
    """Binary gates; ``weights.grad`` is ∂L/∂gate after the backward pass.

    Args:
        weights: (edges, operations); a leaf, or probabilities through which the gradient goes on.
        active: The operation of every edge whose gate is open.
        compared: Operations that get a gradient; all that the edges have if None. Two an edge are
            the ``two`` form of ProxylessNAS.
    """
    return Mixture(weights, active, np.ones_like(active) if compared is None else compared)


def one_hot(operations: NDArray[np.int64], offered: Mask) -> Mask:
    """The mask of one operation an edge, shape (edges, operations).

    Args:
        operations: Number of each edge's operation, shape (edges,).
        offered: Which there are.

    Raises:
        InvalidArchitecture: If an edge has no such operation.
    """
    found = np.zeros_like(offered)
    rows = np.arange(len(offered))
    if operations.shape != rows.shape or operations.min() < 0 or not (
        operations.max() < offered.shape[1] and offered[rows, operations].all()
    ):  # fmt: skip
        raise InvalidArchitecture(f"the edges have no operations {operations.tolist()}")
    found[rows, operations] = True
    return found


def softmax(parameters: Tensor, offered: Mask) -> Tensor:
    """Probabilities of each edge's operations; 0 where it has none.

    Args:
        parameters: (edges, operations).
        offered: Which there are.
    """
    there = torch.from_numpy(offered).to(parameters.device)
    return torch.softmax(parameters.masked_fill(~there, -torch.inf), dim=1)
