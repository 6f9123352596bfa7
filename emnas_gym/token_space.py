"""What every search space offers: tokens, rules, and how its networks are drawn and compared.

A space of layers (`emnas_gym.space.SearchSpace`) writes chains of layer specifications; a space
over a table (`emnas_gym.table_space.TableSpace`) writes one choice a position. Masks, encodings,
variation, environments and agents know only what stands here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from emnas_gym.architecture import Architecture
from emnas_gym.errors import InfeasibleBudgets, InvalidArchitecture, UnknownName
from emnas_gym.graph import LayerGraph
from emnas_gym.layers import LayerSpec
from emnas_gym.measurement import Measurement
from emnas_gym.tasks import DIGITS, Task

if TYPE_CHECKING:
    from emnas_gym.automaton import Automaton
    from emnas_gym.budgets import Budgets

SAMPLERS = ("uniform-length", "walk", "canonical")
ENUMERABLE = 1_000_000


class TokenSpace(ABC):
    """Networks as sequences of token ids 1 … `num_tokens`; 0 is "no layer".

    Attributes:
        name: Name of the space.
        min_layers: Least number of tokens, the end token included.
        max_layers: Largest number of tokens, the end token included.
    """

    name: str
    min_layers: int
    max_layers: int

    def __hash__(self) -> int:
        """Hash of what the space is, wherever it was read from."""
        return hash(self.fingerprint)

    def __eq__(self, other: object) -> bool:
        """Two spaces are equal if all that decides about their networks is."""
        return isinstance(other, TokenSpace) and self.fingerprint == other.fingerprint

    # ------------------------------------------------------------------------------- tokens

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change with whatever decides about the networks."""

    @property
    @abstractmethod
    def num_tokens(self) -> int:
        """Number of tokens, 0 not counted; ids are 1 … num_tokens."""

    @property
    @abstractmethod
    def end_token(self) -> int:
        """The token that ends a network; 0 where the last position does, without a token."""

    @property
    @abstractmethod
    def canonical_token(self) -> tuple[int, ...]:
        """For every id the smallest id of the same behaviour; 0 for a token without effect."""

    @property
    @abstractmethod
    def details(self) -> NDArray[np.float32]:
        """What a token is, as numbers that differ between tokens, shape (K + 1, F); row 0 is 0."""

    @abstractmethod
    def describe(self, token: int) -> str:
        """A token in words.

        Raises:
            InvalidArchitecture: If there is no such token.
        """

    def spec(self, token: int) -> LayerSpec:
        """The layer that a token names.

        Raises:
            InvalidArchitecture: If there is no such token, or tokens are no layers here.
        """
        raise InvalidArchitecture(_NO_LAYERS.format(name=self.name))

    # ------------------------------------------------------------------------------ networks

    @abstractmethod
    def check(self, tokens: Sequence[int]) -> None:
        """Checks that tokens are a network of the space, shapes apart.

        Raises:
            InvalidArchitecture: Saying which rule is broken, and where.
        """

    @abstractmethod
    def canonical_tokens(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """The tokens that stand for all networks that count as the same."""

    def distance(self, a: Sequence[int], b: Sequence[int]) -> int:
        """Edits by which two networks differ, differences without effect aside."""
        return edit_distance(self.canonical_tokens(a), self.canonical_tokens(b))

    def build(self, tokens: Sequence[int], task: Task) -> LayerGraph:
        """Builds the graph of a sequence for the shape of a task.

        Raises:
            InvalidArchitecture: If a rule is broken, a window does not fit its map, or the space
                has no layers.
        """
        raise InvalidArchitecture(_NO_LAYERS.format(name=self.name))

    def begun(self, tokens: Sequence[int], task: Task) -> LayerGraph:
        """The graph of the tokens so far, which may still lack its output; for pictures.

        Args:
            tokens: The first tokens of a network; 0, "no layer", adds nothing.
            task: Input shape and classes.

        Raises:
            InvalidArchitecture: If a window does not fit its map, or the space has no layers.
        """
        raise InvalidArchitecture(_NO_LAYERS.format(name=self.name))

    @abstractmethod
    def promised(self, tokens: Sequence[int], task: Task) -> Measurement:
        """The costs of a network that masks keep within the budgets, not taken from a mask."""

    @abstractmethod
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

    @abstractmethod
    def size(self, length: int | None = None) -> int:
        """Exact number of sequences that keep the rules (shapes apart).

        Args:
            length: Tokens with the end token; all allowed lengths together if None.
        """

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


_NO_LAYERS = (
    "{name} is a space over a table: its tokens are choices at positions, not layers, so that "
    "nothing can be built, trained or computed from shapes; evaluate it with its own table"
)


def sample_tokens(
    table: Automaton, rng: np.random.Generator, sampler: str = "uniform-length"
) -> tuple[int, ...]:
    """Draws the tokens of one network; see `TokenSpace.sample`."""
    if sampler not in SAMPLERS:
        raise UnknownName("sampler", sampler, SAMPLERS)
    length = None if sampler == "walk" else int(rng.choice(table.feasible_lengths))
    canonical = np.array(table.grammar.canonical_token)
    cursor = table.start()
    while not cursor.done:
        legal = table.legal(cursor, length)
        if sampler == "canonical":
            legal = legal[np.unique(canonical[legal], return_index=True)[1]]  # one of each
        table.step(cursor, int(legal[rng.integers(len(legal))]))
    return tuple(cursor.tokens)


def edit_distance(a: Sequence[int], b: Sequence[int]) -> int:
    """Least number of replacements, insertions and deletions from one to the other."""
    costs = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, costs[0] = costs[0], i
        for j, y in enumerate(b, 1):
            change = diagonal + (x != y)
            diagonal = costs[j]
            costs[j] = min(change, costs[j] + 1, costs[j - 1] + 1)
    return costs[-1]
