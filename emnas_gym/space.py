"""A search space: its grammar, and how its networks are drawn, changed and counted."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Literal, overload

from emnas_gym.branched.cell_file import read_cell_file
from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.budgets import Budgets
from emnas_gym.checked_toml import read_toml
from emnas_gym.errors import SpaceFileError, UnknownName, nearest
from emnas_gym.grammar import Grammar, Mode
from emnas_gym.layer_automaton import LayerAutomaton, automaton
from emnas_gym.space_file import read_space_file
from emnas_gym.tasks import DIGITS, Task
from emnas_gym.token_space import SAMPLERS, TokenSpace, sample_tokens

__all__ = ["SAMPLERS", "SearchSpace", "load_space", "resolve_space", "sample_tokens", "space_names"]


FORMS = ("cells",)  # what a file may say of itself; a space of chains says nothing
CellSpaceName = Literal[
    "nb201-cell",
    "nb201-macro",
    "nb201-mini",
    "darts-cell",
    "mobile-stages",
    "lenna-block",
    "lenna-reduction",
]


class SearchSpace(Grammar):
    """Networks over tokens, defined by data; made by `load_space`."""

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
    ) -> LayerAutomaton:
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


def space_names() -> list[str]:
    """Names of the spaces of the package."""
    folder = resources.files("emnas_gym.spaces")
    return sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".toml"))


def _read(path: Path) -> SearchSpace | CellSpace:
    """The space of a file, whose key ``form`` says which kind it is; chains have none."""
    data = read_toml(path)
    form = data.get("form")
    if form is None:
        return SearchSpace(**read_space_file(path, data))
    if form not in FORMS:
        raise SpaceFileError(f"{path}: form: unknown value {form!r}{nearest(str(form), FORMS)}")
    return read_cell_file(path, data)


@overload
def load_space(name: CellSpaceName) -> CellSpace: ...  # type: ignore[overload-overlap]
@overload
def load_space(name: str | Path) -> SearchSpace: ...
@lru_cache(maxsize=64)
def load_space(name: str | Path) -> TokenSpace:
    """Loads a space of the package by name, or a user's own by the path of its TOML file.

    Returns:
        A `SearchSpace` of chains or, where the file has ``form = "cells"``, a `CellSpace`. Which of
        them a path leads to, types cannot know: what takes both asks `resolve_space`.

    Raises:
        UnknownName: If it is neither.
        SpaceFileError: If the file cannot be understood.
    """
    path = Path(name)
    if str(name) in space_names():
        path = Path(str(resources.files("emnas_gym.spaces").joinpath(f"{name}.toml")))
        return replace(_read(path), source="")
    if path.suffix == ".toml" and path.is_file():
        return _read(path)
    raise UnknownName(
        "space", str(name), space_names(), "A path of a .toml file is understood too."
    )


def resolve_space(space: str | Path | TokenSpace) -> TokenSpace:
    """Returns a space by name or path, or as given."""
    return space if isinstance(space, TokenSpace) else load_space(space)
