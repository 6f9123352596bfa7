"""The first population: trivial, rich or random, from a part of the search space or from all.

The initial space and the search space are two things (Liu et al. 2021, "A survey on evolutionary
neural architecture search"): where a search begins, and where it may go.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from agents.base import OptionError
from agents.evolutionary.individuals import Census, Tokens
from emnas_gym.automaton import Automaton
from emnas_gym.problem import Problem
from emnas_gym.space import SearchSpace, load_space, sample_tokens
from emnas_gym.variation import edits_of, mutate

INITIALS = ("random", "trivial", "rich")
LARGEST = 1 << 20  # bytes of a file of networks
TRIES = 200  # networks drawn from the initial space until one is of the search space


@dataclass(frozen=True)
class InitialSpace:
    """Where the first population is drawn from.

    Attributes:
        table: The automaton of the initial space.
        search: That of the search space, which every network must fit.
        token: Token of the initial space → that of the search space.
        sampler: How networks are drawn.
    """

    table: Automaton
    search: Automaton
    token: tuple[int, ...]
    sampler: str

    @classmethod
    def of(
        cls,
        problem: Problem,
        space: str = "",
        min_layers: int = 0,
        max_layers: int = 0,
        sampler: str = "uniform-length",
    ) -> InitialSpace:
        """The initial space of these options.

        Args:
            problem: What is searched.
            space: Name or TOML file of a space whose layers are all in the search space; the
                search space itself if empty.
            min_layers: Least number of tokens; that of both spaces if 0.
            max_layers: Largest number of tokens; that of both spaces if 0.
            sampler: How networks are drawn.

        Raises:
            UnknownName, SpaceFileError: If there is no such space.
            OptionError: If it is no part of the search space.
            InfeasibleBudgets: If no network of it fits.
        """
        chosen = load_space(space) if space else problem.space
        low = min_layers or max(problem.min_layers, chosen.min_layers)
        high = max_layers or min(problem.max_layers, chosen.max_layers)
        if not problem.min_layers <= low <= high <= problem.max_layers:
            raise OptionError(
                f"the first networks have {low} to {high} tokens, but those that are searched "
                f"{problem.min_layers} to {problem.max_layers}: set initial_min_layers and "
                "initial_max_layers within these"
            )
        inner = replace(problem, space=chosen, min_layers=low, max_layers=high)
        token = _translation(chosen, problem)
        return cls(inner.automaton, problem.automaton, token, sampler)

    def draw(self, rng: np.random.Generator) -> Tokens:
        """A network of the initial space, in tokens of the search space.

        Raises:
            OptionError: If none that was drawn is also one of the search space.
        """
        for _ in range(TRIES):
            drawn = sample_tokens(self.table, rng, self.sampler)
            tokens = tuple(self.token[t] for t in drawn)
            if self.search.fits(tokens):
                return tokens
        raise OptionError(
            f"of {TRIES} networks of the initial space {self.table.grammar.name} none keeps the "
            f"rules of {self.search.grammar.name}: choose another initial_space"
        )

    def shortest(self) -> InitialSpace:
        """Its networks of the least length alone."""
        table, length = self.table, self.table.feasible_lengths[0]
        least = table.grammar.automaton(table.task, table.budgets, length, length)
        return replace(self, table=least)


def _translation(initial: object, problem: Problem) -> tuple[int, ...]:
    """For every token of the initial space one that behaves the same in the search space."""
    search = problem.space
    if initial == search:
        return tuple(range(search.num_tokens + 1))
    if not isinstance(initial, SearchSpace) or not isinstance(search, SearchSpace):
        raise OptionError(
            f"{search.name} is a table, whose choices no TOML file names: leave initial_space out"
        )
    known = {spec.canonical(): i for i, spec in reversed([*enumerate(search.specs, 1)])}
    for spec in initial.specs:
        if spec.canonical() not in known:
            raise OptionError(
                f"the initial space {initial.name} has a layer that {search.name} lacks: {spec}"
            )
    return (0, *(known[spec.canonical()] for spec in initial.specs))


def first_population(
    kind: str,
    count: int,
    space: InitialSpace,
    census: Census,
    rng: np.random.Generator,
    networks: str = "",
) -> list[Tokens]:
    """The networks that a search begins with, which differ from each other where they can.

    Args:
        kind: ``"random"``; ``"trivial"``, the shortest networks of the initial space (in a table,
            where all are equally long, random ones); or ``"rich"``, networks made by hand,
            unchanged, filled up by what one edit makes of them.
        count: How many.
        space: The initial space.
        census: Knows what was measured.
        rng: Source of randomness.
        networks: Those made by hand; see `read_networks`.

    Raises:
        OptionError: If the networks made by hand are none, too many, or not of the search space.
    """
    if kind != "rich":
        drawn = space.shortest() if kind == "trivial" else space
        return census.unseen(count, lambda: drawn.draw(rng))
    seeds, table = read_networks(networks), space.search
    if not 0 < len(seeds) <= count:
        raise OptionError(f"a rich population of {count} has 1 to {count} networks in `networks`")
    for tokens in seeds:
        if max(tokens) > table.grammar.num_tokens or not table.fits(tokens):
            raise OptionError(f"networks: {tokens} is no network of the search space that fits")

    def mutant() -> Tokens:
        return mutate(table, seeds[int(rng.integers(len(seeds)))], rng, edits_of(table))

    return [*seeds, *census.unseen(count - len(seeds), mutant)]


def read_networks(text: str) -> list[Tokens]:
    """Networks made by hand: token ids apart by spaces, networks by semicolons or line ends.

    Args:
        text: These, or the path of a text file with them.

    Raises:
        OptionError: If it is neither.
    """
    if os.path.isfile(text):  # False, not an error, for a text that can be no path
        if os.path.getsize(text) > LARGEST:
            raise OptionError(f"{text}: networks are read from files of {LARGEST:,} bytes or less")
        text = Path(text).read_text(encoding="utf-8", errors="replace")
    lines = [line.split() for line in text.replace(";", "\n").splitlines() if line.strip()]
    for word in (word for line in lines for word in line):
        if not (word.isascii() and word.isdigit() and len(word) < 7):
            raise OptionError(f"networks: {word!r} is neither a token id nor a file that exists")
    return [tuple(int(word) for word in line) for line in lines]
