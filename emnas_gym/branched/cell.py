"""What every cell offers: decisions, how they become operations, and what each of them costs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from emnas_gym.cost_vectors import Costs
from emnas_gym.graph import GraphBuilder, Shape

Choices = tuple[int, ...]  # of each position the index of what is chosen
Prices = Mapping[Hashable, Costs]


@dataclass(frozen=True, slots=True)
class Position:
    """One decision.

    Attributes:
        name: Which one, e.g. ``0→1``.
        choices: What may be chosen, in the order of tokens.
    """

    name: str
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Site:
    """One place at which a cell stands in a network.

    Attributes:
        inputs: Shapes of what it reads.
        shape: Shape of its nodes.
        stride: Step by which its first operations divide the map.
    """

    inputs: tuple[Shape, ...]
    shape: Shape
    stride: int


@dataclass(slots=True)
class Built:
    """A cell put into a graph.

    Attributes:
        output: Index of the node that it returns; None while decisions are missing.
        site: The shapes that it met.
        chosen: Indices of the nodes that depend on what was chosen.
    """

    output: int | None
    site: Site
    chosen: set[int] = field(default_factory=set)


class Cell(ABC):
    """A small graph that a network repeats.

    Attributes:
        positions: Its decisions, in order.
        inputs: How many of the latest outputs it reads: 1 or 2.
    """

    positions: tuple[Position, ...]
    inputs: int

    @abstractmethod
    def assemble(
        self,
        builder: GraphBuilder,
        reads: Sequence[int],
        channels: int,
        stride: int,
        choices: Choices,
    ) -> Built:
        """Puts the cell into a graph; what is not connected to both ends is left out.

        Args:
            builder: The graph so far.
            reads: Indices of its inputs, the latest last.
            channels: Channels of its nodes.
            stride: Step of the operations that read an input.
            choices: Of all positions; of the first ones alone the cell is put as far as the input
                reaches.

        Raises:
            ShapeError: If a window does not fit.
            InvalidArchitecture: If all is chosen and no way leads from an input to the output.
        """

    @abstractmethod
    def prices(self, site: Site) -> dict[Hashable, Costs]:
        """What decisions cost at one place; `step` adds them up."""

    @abstractmethod
    def start(self) -> Hashable:
        """Where nothing is chosen yet."""

    @abstractmethod
    def step(
        self, state: Hashable, position: int, choice: int, prices: Prices
    ) -> tuple[Hashable, Costs] | None:
        """Decides one position.

        Args:
            state: `start`, or what the last step returned; equal states go on alike.
            position: Index of the position; they come in order.
            choice: Index of what is chosen there.
            prices: Sums of `prices` over all places of the cell.

        Returns:
            The state after it and what the network costs more, shape (5,); None if the cell is
            complete and its output is connected to nothing.
        """

    @abstractmethod
    def canonical(self, choices: Choices) -> Choices:
        """The choices that stand for all of which the cells compute the same."""

    @abstractmethod
    def connected(self, choices: Choices) -> bool:
        """Whether a way leads from an input to the output."""

    @property
    def witness(self) -> Choices:
        """Choices with which all nodes are connected."""
        return tuple(
            next(i for i, name in enumerate(position.choices) if name != "none")
            for position in self.positions
        )
