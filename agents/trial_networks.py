"""How the parameters of a trial of Optuna stand for a network, which is always a legal one.

- ``length``: the number of one of the feasible lengths, where there are several.
- TPE: ``token0``, ``token1``, … are categories, one for each behaviour that some network has at
  this position. A token that is illegal after those before it stands for the next legal one by id,
  cyclically. Positions behind the end are not asked for.
- CMA-ES: real numbers in 0 … 1. As ``scores`` a position has one for each of its categories, and
  the legal token of the largest is meant; as ``line`` it has one number x, which means token
  ⌊x n⌋ of the n legal ones by id. Positions behind the end are asked for, but have no effect.

Equal parameters always mean the same network.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from optuna.trial import BaseTrial

from agents.evolutionary.individuals import Tokens
from emnas_gym.automaton import Automaton, Cursor

Ids = NDArray[np.int64]


class Vocabulary:
    """The tokens that a proposal may name at each position.

    Args:
        table: Decides what is legal.
    """

    def __init__(self, table: Automaton) -> None:
        self.table, self.end = table, table.grammar.end_token
        self.lengths = table.feasible_lengths
        self.canonical: Ids = np.array(table.grammar.canonical_token)

    @cached_property
    def categories(self) -> list[Ids]:
        """For each position the tokens that follow some beginning, one a behaviour, by id."""
        found, states = [], {0}
        for _ in range(max(self.lengths) - bool(self.end)):
            moves = self.table.next_state[sorted(states)]
            follow = np.flatnonzero((moves > -2).any(axis=0))
            found.append(self._distinct(follow[follow != self.end]))
            states = {int(state) for state in np.unique(moves) if state >= 0}
        return found

    def legal(self, cursor: Cursor, length: int) -> Ids:
        """Tokens that are legal next in a network of this length, one a behaviour, by id."""
        return self._distinct(self.table.legal(cursor, length))

    def _distinct(self, tokens: Ids) -> Ids:
        distinct = tokens[self.canonical[tokens] == tokens]
        return distinct if len(distinct) else tokens  # those without effect, if there are no others

    def network(self, reader: Reader) -> Tokens:
        """The legal network that is read token by token."""
        length = self.lengths[reader.length() if len(self.lengths) > 1 else 0]
        cursor = self.table.start()
        while not cursor.done:
            position, legal = len(cursor.tokens), self.legal(cursor, length)
            at_end = self.end and position == length - 1
            self.table.step(cursor, self.end if at_end else reader.token(position, legal))
        return tuple(cursor.tokens)


class Reader(Protocol):
    """Reads a network from the parameters of a trial."""

    def length(self) -> int:
        """Which of the feasible lengths; asked only where there are several."""

    def token(self, position: int, legal: Ids) -> int:
        """One of the legal tokens."""


@dataclass(frozen=True)
class Categories:
    """Reads categories, for TPE; see the module."""

    words: Vocabulary
    trial: BaseTrial

    def length(self) -> int:
        """A whole number."""
        return self.trial.suggest_int("length", 0, len(self.words.lengths) - 1)

    def token(self, position: int, legal: Ids) -> int:
        """The legal token that is the next one by id, cyclically."""
        names = self.words.categories[position].tolist()
        wanted = self.trial.suggest_categorical(f"token{position}", names)
        return int(legal[int(np.searchsorted(legal, wanted)) % len(legal)])


class Numbers:
    """Reads real numbers, for CMA-ES; see the module.

    Args:
        words: The tokens.
        trial: Asked for all numbers at once, so that every trial has the same ones.
        scores: Whether a position has a number for each category, else it has one.
    """

    def __init__(self, words: Vocabulary, trial: BaseTrial, scores: bool) -> None:
        self.words, self.scores = words, scores
        several = len(words.lengths) > 1
        self._length = trial.suggest_float("length", 0.0, 1.0) if several else 0.0
        self._numbers = [
            np.array([trial.suggest_float(f"x{i}_{j}", 0.0, 1.0) for j in range(width)])
            for i, width in enumerate(self.widths(words, scores))
        ]

    @staticmethod
    def widths(words: Vocabulary, scores: bool) -> list[int]:
        """How many numbers each position has."""
        return [len(names) if scores else 1 for names in words.categories]

    def length(self) -> int:
        """A share of the feasible lengths."""
        return _share(self._length, len(self.words.lengths))

    def token(self, position: int, legal: Ids) -> int:
        """The legal token of the largest score, or that at a share of all legal ones."""
        numbers, names = self._numbers[position], self.words.categories[position]
        if not self.scores:
            return int(legal[_share(float(numbers[0]), len(legal))])
        known = np.isin(names, legal)
        if not known.any():  # only tokens without effect are legal
            return int(legal[0])
        return int(names[int(np.argmax(np.where(known, numbers, -1.0)))])


def _share(number: float, count: int) -> int:
    """⌊x n⌋, and n − 1 at x = 1."""
    return min(int(number * count), count - 1)
