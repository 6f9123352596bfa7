"""Finished networks as arrays: tokens, the states of the automaton they passed, what they cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emnas_gym.architecture import Architecture
from emnas_gym.errors import InvalidArchitecture

if TYPE_CHECKING:
    from emnas_gym.automaton import Automaton
    from emnas_gym.tasks import Task
    from emnas_gym.token_space import TokenSpace


@dataclass(frozen=True)
class Walks:
    """Finished walks through one automaton, N of them; L is its largest number of tokens.

    Attributes:
        automaton: The tables that all of them walked through.
        tokens: (N, L) int16, 0 after the end.
        places: (N, L) int64, where tables of the shape of `Automaton.next_state` hold each step,
            flat; after the end 0, where the start and token 0 meet, which is no step.
        lengths: (N,) int64, tokens with the end token.
        spent: (N, 5) int64, total costs (`emnas_gym.cost_vectors`).

    Where `WalkBatch` makes them, places and costs lie in memory column by column: what is asked of
    many walks is asked of all their first steps, then of all their second ones.
    """

    automaton: Automaton
    tokens: NDArray[np.int16]
    places: NDArray[np.int64]
    lengths: NDArray[np.int64]
    spent: NDArray[np.int64]

    @classmethod
    def of(cls, automaton: Automaton, architectures: Sequence[Architecture]) -> Walks:
        """Walks architectures through an automaton.

        Raises:
            InvalidArchitecture: If one does not end, or leaves the tables: it is of another space,
                does not build, or costs more than the budgets alone allow.
        """
        shape = (len(architectures), automaton.max_layers)
        tokens, places = np.zeros(shape, np.int16), np.zeros(shape, np.int64)
        lengths = np.array([len(a.tokens) for a in architectures], dtype=np.int64)
        spent = np.zeros((len(architectures), len(automaton.base)), dtype=np.int64)
        for i, architecture in enumerate(architectures):
            path, spent[i] = automaton.walk(_of_space(architecture, automaton.grammar))
            tokens[i, : lengths[i]] = architecture.tokens
            places[i, : lengths[i]] = np.multiply(path, automaton.width) + architecture.tokens
        return cls(automaton, tokens, places, lengths, spent)

    def __len__(self) -> int:
        """Number of networks."""
        return len(self.lengths)

    @property
    def states(self) -> NDArray[np.int32]:
        """The state in which each token was placed, (N, L); −1 after the end."""
        states = (self.places // self.automaton.width).astype(np.int32)
        states[np.arange(states.shape[1]) >= self.lengths[:, None]] = -1
        return states

    @property
    def space(self) -> TokenSpace:
        """The space of the networks."""
        return self.automaton.grammar

    @property
    def task(self) -> Task:
        """What the networks are for."""
        return self.automaton.task

    def architectures(self) -> list[Architecture]:
        """The networks as objects, their rules checked."""
        rows = zip(self.tokens.tolist(), self.lengths.tolist(), strict=True)
        return [Architecture(self.space, tuple(row[:length])) for row, length in rows]

    def take(self, rows: NDArray[np.int64] | slice) -> Walks:
        """Some of the walks."""
        return Walks(
            self.automaton,
            self.tokens[rows],
            self.places[rows],
            self.lengths[rows],
            self.spent[rows],
        )


def _of_space(architecture: Architecture, space: TokenSpace) -> tuple[int, ...]:
    if architecture.space != space:
        raise InvalidArchitecture(f"{architecture!r} is not of the space {space.name}")
    return architecture.tokens
