"""Cells as edges that choose among operations, whatever their decisions are, and back again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from emnas_gym.branched.cell import Choices
from emnas_gym.branched.isomorphism import Edge
from emnas_gym.branched.operations import NONE
from emnas_gym.errors import InvalidArchitecture

Mask = NDArray[np.bool_]  # (edges, operations)
Flags = NDArray[np.bool_]  # (edges,)
Weights = NDArray[np.float64]  # (edges, operations)
Chosen = tuple[int, int]  # number of an edge, number of an operation on it


class Wiring(ABC):
    """What a supernet has to know of a cell.

    Values of a cell have one numbering: its inputs come first, then its nodes.

    Attributes:
        inputs: How many values the cell reads.
        edges: (source, target) of every edge, sorted by target.
        operations: Names of what every edge may be, in the order of choices.
    """

    inputs: int
    edges: tuple[Edge, ...]
    operations: tuple[tuple[str, ...], ...]

    @cached_property
    def offered(self) -> Mask:
        """Which operations every edge has; edges with fewer ones have False at the end."""
        most = max(map(len, self.operations))
        return np.array([[i < len(names) for i in range(most)] for names in self.operations])

    @cached_property
    def carrying(self) -> Mask:
        """Which operations carry anything: all that are offered but ``none``."""
        most = self.offered.shape[1]
        rows = [[n != NONE for n in names] for names in self.operations]
        return np.array([row + [False] * (most - len(row)) for row in rows])

    @cached_property
    def into(self) -> Mask:
        """Which edges end at each node that any ends at, shape (nodes, edges)."""
        targets = np.array([target for _, target in self.edges])
        return np.array([targets == node for node in np.unique(targets)])

    @cached_property
    def values(self) -> int:
        """Number of inputs and nodes."""
        return self.edges[-1][1] + 1

    def mask(self, choices: Choices) -> Mask:
        """One operation on every edge that is chosen, ``none`` included."""
        found = np.zeros_like(self.offered)
        for edge, operation in self.chosen(choices):
            found[edge, operation] = True
        return found

    def carried(self, mask: Mask) -> Flags:
        """Which edges have an operation in the mask that carries anything, shape (edges,)."""
        return np.asarray(np.any(mask & self.carrying, axis=1), dtype=np.bool_)

    @abstractmethod
    def chosen(self, choices: Choices) -> tuple[Chosen, ...]:
        """The operation of every edge that the choices have."""

    def running(self, choices: Choices) -> tuple[Chosen, ...]:
        """The operations that run when a cell is decided so: all but those on dead edges."""
        return self.chosen(choices)

    @abstractmethod
    def live(self, computed: Mask) -> Flags:
        """Which edges lie on a way from an input to the output, shape (edges,).

        Raises:
            InvalidArchitecture: If the output is not connected.
        """

    @abstractmethod
    def output(self) -> tuple[int, ...]:
        """The values that are the output, side by side."""

    @abstractmethod
    def decide(self, weights: Weights) -> Choices:
        """The strongest choices of which the output is connected.

        Args:
            weights: How strong every operation on every edge is, not negative.

        Raises:
            InvalidArchitecture: If a weight is no number or negative, or what is strong enough to
                connect the output weighs nothing.
        """

    @abstractmethod
    def matched(self, choices: Choices) -> tuple[Chosen, ...]:
        """The operations of the canonical network, by the edges that these choices have them on.

        Returns:
            In the order in which `Cell.assemble` adds the operations of `Cell.canonical`; without
            those that add nothing to a graph.
        """

    def order(self, choices: Choices) -> tuple[int, ...]:
        """At each place of the canonical network's `output` which of these choices' values is."""
        return tuple(range(len(self.output())))

    def checked(self, weights: Weights) -> Weights:
        """Weights of which all that is offered is a finite number, not negative.

        Raises:
            InvalidArchitecture: If that is not so.
        """
        found = np.asarray(weights, dtype=np.float64)
        if found.shape != self.offered.shape:
            raise InvalidArchitecture(
                f"weights have the shape (edges, operations) = {self.offered.shape}, "
                f"not {found.shape}"
            )
        if not np.isfinite(found[self.offered]).all() or (found[self.offered] < 0).any():
            raise InvalidArchitecture(
                "an architecture is decided by finite weights that are not negative; take the "
                "probabilities, and see whether the search has diverged where they are no numbers"
            )
        return np.where(self.offered, found, -np.inf)
