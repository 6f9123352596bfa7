"""Spaces that have one choice a position: cells and tables."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import InfeasibleBudgets, InvalidArchitecture, nearest
from emnas_gym.token_space import TokenSpace


class PositionSpace(TokenSpace):
    """A token is a choice at a position; the tokens of a position follow those of the one before.

    With k choices at every position, token = 1 + position · k + choice. The last position ends an
    architecture; there is no end token.
    """

    @property
    @abstractmethod
    def operations(self) -> Mapping[str, tuple[str, ...]]:
        """What may be chosen at each position, in the order of tokens."""

    @cached_property
    def first_token(self) -> tuple[int, ...]:
        """The first token of each position."""
        sizes = [len(names) for names in self.operations.values()]
        return tuple(1 + sum(sizes[:i]) for i in range(len(sizes)))

    @cached_property
    def max_layers(self) -> int:  # type: ignore[override]
        """Number of positions."""
        return len(self.operations)

    @property
    def min_layers(self) -> int:  # type: ignore[override]
        """Number of positions."""
        return self.max_layers

    @cached_property
    def num_tokens(self) -> int:
        """Choices of all positions together."""
        return sum(map(len, self.operations.values()))

    @property
    def end_token(self) -> int:
        """0: the last position ends an architecture."""
        return 0

    @cached_property
    def canonical_token(self) -> tuple[int, ...]:
        """Every token is its own: what is the same, is so as a whole; see `canonical_tokens`."""
        return tuple(range(self.num_tokens + 1))

    @cached_property
    def _choice(self) -> list[tuple[str, str]]:
        return [(place, name) for place, names in self.operations.items() for name in names]

    @cached_property
    def details(self) -> NDArray[np.float32]:
        """Position and choice of every token, from 1, shape (K + 1, 2).

        A choice has one number at all positions.
        """
        names = {name: i for i, name in enumerate(dict.fromkeys(n for _, n in self._choice), 1)}
        places = {position: i for i, position in enumerate(self.operations, 1)}
        rows = [(0, 0), *((places[position], names[name]) for position, name in self._choice)]
        return np.array(rows, dtype=np.float32)

    def describe(self, token: int) -> str:
        """Position and choice of a token, such as ``0→1 = conv3x3``.

        Raises:
            InvalidArchitecture: If there is no such token.
        """
        if not 1 <= token <= self.num_tokens:
            raise InvalidArchitecture(f"{self.name} has tokens 1 to {self.num_tokens}, not {token}")
        return " = ".join(self._choice[token - 1])

    def encode(self, choices: Mapping[str, str]) -> tuple[int, ...]:
        """Tokens of an architecture that is given as position → choice.

        Raises:
            InvalidArchitecture: If a position or choice is unknown or missing, or the space has no
                such combination.
        """
        for position in choices:
            if position not in self.operations:
                raise InvalidArchitecture(
                    f"unknown position {position!r}{nearest(position, self.operations)}"
                )
        tokens = []
        for first, (position, names) in zip(self.first_token, self.operations.items(), strict=True):
            name = choices.get(position, "")
            if name not in names:
                raise InvalidArchitecture(f"{position} has no {name!r}{nearest(name, names)}")
            tokens.append(first + names.index(name))
        self.check(tokens)
        return tuple(tokens)

    def indices(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """What the first tokens choose at their positions, from 0.

        Raises:
            InvalidArchitecture: If a token does not belong to its position.
        """
        found, names = [], self.operations.items()
        for token, first, (position, n) in zip(tokens, self.first_token, names, strict=False):
            if not first <= token < first + len(n):
                raise InvalidArchitecture(
                    f"{position}: its tokens are {first} to {first + len(n) - 1}, not {token}"
                )
            found.append(int(token) - first)
        return tuple(found)

    def all_indices(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """What the tokens of an architecture choose, from 0.

        Raises:
            InvalidArchitecture: If a position has none, or one that does not belong there.
        """
        if len(tokens) != self.max_layers:
            raise InvalidArchitecture(
                f"{self.name} has {self.max_layers} positions, not {len(tokens)}"
            )
        return self.indices(tokens)

    def distance(self, a: Sequence[int], b: Sequence[int]) -> int:
        """Positions at which two architectures differ; 0 if they count as the same."""
        if self.canonical_tokens(a) == self.canonical_tokens(b):
            return 0
        return sum(x != y for x, y in zip(a, b, strict=True))

    def check_lengths(self, *lengths: int | None) -> None:
        """Checks that no other length is asked for than there is.

        Raises:
            InfeasibleBudgets: If one is.
        """
        for length in lengths:
            if length not in (None, self.max_layers):
                raise InfeasibleBudgets(
                    f"{self.name}: every architecture has {self.max_layers} positions, not {length}"
                )
