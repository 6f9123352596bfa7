"""One network of a search space: frozen, hashable, printable, round-trips through JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from emnas_gym.errors import InvalidArchitecture
from emnas_gym.graph import LayerGraph
from emnas_gym.layers import LayerSpec
from emnas_gym.tasks import Task

if TYPE_CHECKING:
    from emnas_gym.token_space import TokenSpace


@dataclass(frozen=True)
class Architecture:
    """A space and the tokens of one of its networks, the end token included.

    Args:
        space: The search space.
        tokens: Token ids, checked against the rules of the space.

    Raises:
        InvalidArchitecture: If the tokens break a rule.
    """

    space: TokenSpace
    tokens: tuple[int, ...]

    def __post_init__(self) -> None:
        """Checks the rules; shapes are checked by `graph`."""
        object.__setattr__(self, "tokens", tuple(int(t) for t in self.tokens))
        self.space.check(self.tokens)

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        """The layer of every token.

        Raises:
            InvalidArchitecture: If the tokens of the space are no layers.
        """
        return tuple(self.space.spec(token) for token in self.tokens)

    @property
    def words(self) -> tuple[str, ...]:
        """What every token stands for, in words."""
        return tuple(self.space.describe(token) for token in self.tokens)

    @property
    def canonical(self) -> tuple[int, ...]:
        """Tokens that are equal for two architectures exactly if their layers behave alike."""
        return self.space.canonical_tokens(self.tokens)

    def graph(self, task: Task) -> LayerGraph:
        """The operations and shapes of this network on a task.

        Raises:
            InvalidArchitecture: If a window does not fit its map.
        """
        return _graph(self, task)

    def to_json(self) -> dict[str, Any]:
        """Plain data from which `from_json` makes an equal architecture."""
        return {"space": self.space.name, "tokens": list(self.tokens)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], space: TokenSpace) -> Architecture:
        """Reads what `to_json` wrote.

        Raises:
            InvalidArchitecture: If it belongs to another space or is damaged.
        """
        tokens = data.get("tokens")
        if data.get("space") != space.name or not isinstance(tokens, list):
            raise InvalidArchitecture(f"{data!r} is no architecture of the space {space.name}")
        if not all(isinstance(t, int) for t in tokens):
            raise InvalidArchitecture(f"tokens are whole numbers, not {tokens!r}")
        return cls(space, tuple(tokens))

    def __str__(self) -> str:
        """The layers in words."""
        return " → ".join(self.words)

    def __repr__(self) -> str:
        """Space and tokens."""
        return f"Architecture({self.space.name}, {list(self.tokens)})"


@lru_cache(maxsize=4096)
def _graph(architecture: Architecture, task: Task) -> LayerGraph:
    return architecture.space.build(architecture.tokens, task)
