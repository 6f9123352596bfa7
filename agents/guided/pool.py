"""Candidates for the next measurement: legal, different from each other, and not seen before."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from emnas_gym.automaton import Automaton
from emnas_gym.problem import Problem
from emnas_gym.space import sample_tokens
from emnas_gym.token_space import ENUMERABLE, TokenSpace
from emnas_gym.variation import crossover, edits_of, mutate

Tokens = tuple[int, ...]
TRIES = 4  # draws for each candidate before fewer are taken
SMALL = 50_000  # networks up to which a table is listed, so that nothing new is overlooked
LISTED = 2_000  # sequences up to which a space of layers is


class Pool:
    """What was seen, and what was not yet.

    Args:
        problem: What is searched.
        rng: Source of randomness.
        list_small: Whether spaces that are small enough are listed.
    """

    def __init__(self, problem: Problem, rng: np.random.Generator, list_small: bool = True) -> None:
        self.space, self.table, self.rng = problem.space, problem.automaton, rng
        self._edits = edits_of(self.table)
        self.seen: set[Tokens] = set()
        size = self.space.size()
        limit = LISTED if self.space.end_token else SMALL
        self.unseen: dict[Tokens, Tokens] | None = None
        if list_small and size <= min(limit, ENUMERABLE):
            self.unseen = dict(_listed(self.space, self.table))

    def see(self, networks: Iterable[Tokens]) -> None:
        """Notes networks that are measured."""
        for tokens in networks:
            key = self.space.canonical_tokens(tokens)
            self.seen.add(key)
            if self.unseen is not None:
                self.unseen.pop(key, None)

    def fresh(self, draw: Iterable[Tokens], count: int) -> list[Tokens]:
        """The first so many of a stream that are neither seen nor equal to each other."""
        found: dict[Tokens, Tokens] = {}
        for tokens in draw:
            key = self.space.canonical_tokens(tokens)
            if key not in self.seen:
                found.setdefault(key, tokens)
            if len(found) >= count:
                break
        return list(found.values())

    def random(self, count: int) -> list[Tokens]:
        """Fresh networks drawn at random; fewer where hardly any are left, at worst none."""
        if self.unseen is not None:
            return self.some(count)
        draws = (sample_tokens(self.table, self.rng) for _ in range(TRIES * count))
        return self.fresh(draws, count)

    def some(self, count: int) -> list[Tokens]:
        """Of a listed space all that is fresh, or so many of it at random, in the list's order."""
        left = [] if self.unseen is None else list(self.unseen.values())
        if len(left) <= count:
            return left
        return [left[i] for i in np.sort(self.rng.choice(len(left), count, replace=False))]

    def children(
        self, parents: Sequence[Tokens], count: int, distance: int = 1, cross: float = 0.0
    ) -> list[Tokens]:
        """Fresh networks near to parents.

        Args:
            parents: One or more, drawn with equal probability.
            count: How many at most.
            distance: Edits, from 1 to so many with equal probability.
            cross: Probability that the parent is a crossover of two of them.
        """
        return self.fresh(
            (self._child(parents, distance, cross) for _ in range(TRIES * count)), count
        )

    def _child(self, parents: Sequence[Tokens], distance: int, cross: float) -> Tokens:
        rng = self.rng
        parent = parents[int(rng.integers(len(parents)))]
        if cross and rng.random() < cross:
            other = parents[int(rng.integers(len(parents)))]
            parent = crossover(self.table, parent, other, rng) or parent
        edits = int(rng.integers(1, distance + 1)) if distance > 1 else 1
        for _ in range(edits):
            parent = mutate(self.table, parent, rng, self._edits)
        return parent

    def around(self, parents: Sequence[Tokens], size: int, share: float) -> list[Tokens]:
        """Fresh networks: a share of children of parents, the rest at random; all of a small space.

        Fewer where hardly any are left, none where nothing new is found.
        """
        if self.unseen is not None and len(self.unseen) <= size:
            return list(self.unseen.values())
        near = self.children(parents, round(share * size)) if parents else []
        return self.fresh([*near, *self.random(size - len(near))], size)


@lru_cache(maxsize=4)
def _listed(space: TokenSpace, table: Automaton) -> tuple[tuple[Tokens, Tokens], ...]:
    """Every network that the automaton allows: its canonical tokens, and the first such tokens."""
    lengths = range(table.feasible_lengths[0], table.feasible_lengths[-1] + 1)
    every = [a for a in space.enumerate(table.task, table.budgets) if len(a.tokens) in lengths]
    found: dict[Tokens, Tokens] = {}
    for architecture in every:
        found.setdefault(architecture.canonical, architecture.tokens)
    return tuple(found.items())
