"""A search space: its grammar, and how its networks are drawn, changed and counted."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np

from emnas_gym.architecture import Architecture
from emnas_gym.automaton import Automaton, automaton
from emnas_gym.budgets import Budgets
from emnas_gym.errors import InfeasibleBudgets, UnknownName
from emnas_gym.grammar import Grammar, Mode
from emnas_gym.space_file import read_space_file
from emnas_gym.tasks import DIGITS, Task

SAMPLERS = ("uniform-length", "walk", "canonical")
ENUMERABLE = 1_000_000


class SearchSpace(Grammar):
    """Networks over tokens, defined by data; made by `load_space`."""

    __hash__ = Grammar.__hash__
    __eq__ = Grammar.__eq__

    def __repr__(self) -> str:
        """Name, tokens and lengths."""
        lengths = f"{self.min_layers}–{self.max_layers}"
        return f"SearchSpace({self.name}, {self.num_tokens} tokens, {lengths} layers)"

    def automaton(
        self,
        task: Task = DIGITS,
        budgets: Budgets | None = None,
        min_layers: int | None = None,
        max_layers: int | None = None,
    ) -> Automaton:
        """The tables of legal tokens and costs; made once a process.

        Raises:
            InfeasibleBudgets: If no network fits.
        """
        return automaton(
            self,
            task,
            budgets or Budgets(),
            self.min_layers if min_layers is None else min_layers,
            self.max_layers if max_layers is None else max_layers,
        )

    def architecture(self, tokens: Sequence[int]) -> Architecture:
        """The network of these tokens.

        Raises:
            InvalidArchitecture: If they break a rule.
        """
        return Architecture(self, tuple(int(t) for t in tokens))

    def sample(
        self,
        rng: np.random.Generator,
        task: Task = DIGITS,
        budgets: Budgets | None = None,
        sampler: str = "uniform-length",
    ) -> Architecture:
        """Draws a network that builds and fits.

        Args:
            rng: Source of randomness.
            task: What the network is for.
            budgets: Limits on flash, RAM and MACs.
            sampler: ``"uniform-length"`` (a length, then uniform legal tokens), ``"walk"``
                (uniform legal tokens, the end included: nearly always of maximal length) or
                ``"canonical"`` (a length, then uniform legal behaviours, repeats counted once).

        Raises:
            UnknownName: If there is no such sampler.
            InfeasibleBudgets: If no network fits.
        """
        return self.architecture(sample_tokens(self.automaton(task, budgets), rng, sampler))

    def size(self, length: int | None = None) -> int:
        """Exact number of sequences that keep the rules (shapes apart), by dynamic programming.

        Args:
            length: Tokens with the end token; all allowed lengths together if None.
        """
        lengths = range(self.min_layers, self.max_layers + 1) if length is None else [length]
        kinds = [spec.kind for spec in self.specs if spec.kind != "output"]
        counts: dict[Mode, int] = {frozenset(): 1}
        total = 0
        for position in range(max(lengths)):
            if position + 1 in lengths and (position or "output" in self.first):
                total += sum(counts.values())
            after: dict[Mode, int] = {}
            for (mode, count), kind in itertools.product(counts.items(), set(kinds)):
                if self.allows(mode, kind) and (position or kind in self.first):
                    target = self.next_mode(mode, kind)
                    after[target] = after.get(target, 0) + count * kinds.count(kind)
            counts = after
        return total

    def enumerate(
        self, task: Task = DIGITS, budgets: Budgets | None = None, length: int | None = None
    ) -> Iterator[Architecture]:
        """Yields every network that builds and fits, in the order of tokens.

        Raises:
            InfeasibleBudgets: If none fits, or the space has over a million sequences.
        """
        if self.size(length) > ENUMERABLE:
            raise InfeasibleBudgets(
                f"{self.name} has {self.size(length):,} sequences; "
                f"over {ENUMERABLE:,} are not enumerated"
            )
        table = self.automaton(task, budgets)
        stack: list[tuple[int, ...]] = [()]
        while stack:
            tokens = stack.pop()
            cursor = table.start()
            for token in tokens:
                table.step(cursor, token)
            if cursor.done:
                yield self.architecture(tokens)
                continue
            stack += [(*tokens, int(t)) for t in table.legal(cursor, length)[::-1]]


def sample_tokens(
    table: Automaton, rng: np.random.Generator, sampler: str = "uniform-length"
) -> tuple[int, ...]:
    """Draws the tokens of one network; see `SearchSpace.sample`."""
    if sampler not in SAMPLERS:
        raise UnknownName("sampler", sampler, SAMPLERS)
    length = None if sampler == "walk" else int(rng.choice(table.feasible_lengths))
    canonical = np.array(table.grammar.canonical_token)
    cursor = table.start()
    while not cursor.done:
        legal = table.legal(cursor, length)
        if sampler == "canonical":
            legal = legal[canonical[legal] == legal]
        table.step(cursor, int(legal[rng.integers(len(legal))]))
    return tuple(cursor.tokens)


def space_names() -> list[str]:
    """Names of the spaces of the package."""
    folder = resources.files("emnas_gym.spaces")
    return sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml"))


@lru_cache(maxsize=64)
def load_space(name: str | Path) -> SearchSpace:
    """Loads a space of the package by name, or a user's own by the path of its TOML file.

    Raises:
        UnknownName: If it is neither.
        SpaceFileError: If the file cannot be understood.
    """
    if str(name) in space_names():
        path = Path(str(resources.files("emnas_gym.spaces").joinpath(f"{name}.toml")))
        return SearchSpace(**(read_space_file(path) | {"source": ""}))
    path = Path(name)
    if path.suffix == ".toml" and path.is_file():
        return SearchSpace(**read_space_file(path))
    raise UnknownName(
        "space", str(name), space_names(), "A path of a .toml file is understood too."
    )


def resolve_space(space: str | Path | SearchSpace) -> SearchSpace:
    """Returns a space by name or path, or as given."""
    return space if isinstance(space, SearchSpace) else load_space(space)
