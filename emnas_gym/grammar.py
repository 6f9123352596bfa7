"""Which sequences of tokens are networks at all: the vocabulary of a space and its rules."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from emnas_gym import costs
from emnas_gym.errors import InvalidArchitecture
from emnas_gym.graph import GraphBuilder, LayerGraph
from emnas_gym.layers import DETAILS, LayerSpec
from emnas_gym.measurement import Measurement
from emnas_gym.tasks import Task
from emnas_gym.token_space import TokenSpace

Mode = frozenset[str]  # kinds with an ``after`` rule that have occurred


@dataclass(frozen=True, eq=False)
class Grammar(TokenSpace):
    """Tokens, lengths and rules. Token 0 is "no layer"; the output token ends a sequence.

    Attributes:
        name: Name of the space.
        specs: Specification of token 1, 2, ...
        min_layers: Least number of tokens, the end token included.
        max_layers: Largest number of tokens, the end token included.
        first: Kinds that may stand first.
        after: Once the key has occurred, only these kinds (and the output) may follow.
        source: File the space was read from; empty for a space of the package.
    """

    name: str
    specs: tuple[LayerSpec, ...]
    min_layers: int
    max_layers: int
    first: tuple[str, ...]
    after: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    source: str = ""

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change with tokens, lengths or rules."""
        rules = [self.first, sorted((k, tuple(v)) for k, v in self.after.items())]
        content = [self.name, self.min_layers, self.max_layers, rules]
        text = json.dumps([content, [asdict(s) for s in self.specs]], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def num_tokens(self) -> int:
        """Number of tokens, 0 not counted; ids are 1 … num_tokens."""
        return len(self.specs)

    @cached_property
    def end_token(self) -> int:
        """The id of the output layer."""
        return next(i for i, spec in enumerate(self.specs, 1) if spec.kind == "output")

    def spec(self, token: int) -> LayerSpec:
        """The layer that a token names.

        Raises:
            InvalidArchitecture: If there is no such token.
        """
        if not 1 <= token <= len(self.specs):
            raise InvalidArchitecture(f"{self.name} has tokens 1 to {len(self.specs)}, not {token}")
        return self.specs[token - 1]

    def describe(self, token: int) -> str:
        """The layer that a token names, in words.

        Raises:
            InvalidArchitecture: If there is no such token.
        """
        return str(self.spec(token))

    @cached_property
    def details(self) -> NDArray[np.float32]:
        """The fields of every token's layer, shape (K + 1, `emnas_gym.layers.DETAILS`)."""
        rows = [[0.0] * len(DETAILS), *(spec.details() for spec in self.specs)]
        return np.array(rows, dtype=np.float32)

    @cached_property
    def canonical_token(self) -> tuple[int, ...]:
        """For every id the smallest id of the same behaviour; 0 for a token without effect."""
        first_of: dict[LayerSpec, int] = {}
        table = [0]
        for token, spec in enumerate(self.specs, 1):
            canonical = spec.canonical()
            table.append(0 if canonical is None else first_of.setdefault(canonical, token))
        return tuple(table)

    def canonical_tokens(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """Tokens of the canonical network: one id a behaviour, layers without effect left out."""
        return tuple(c for t in tokens if (c := self.canonical_token[t]))

    def next_mode(self, mode: Mode, kind: str) -> Mode:
        """The rules that hold after a layer of this kind."""
        return mode | {kind} if kind in self.after else mode

    def allows(self, mode: Mode, kind: str) -> bool:
        """Whether the rules allow this kind, position apart."""
        return kind == "output" or all(kind in self.after[m] for m in mode)

    def check(self, tokens: Sequence[int]) -> None:
        """Checks lengths and rules, not shapes.

        Raises:
            InvalidArchitecture: Saying which rule is broken, and where.
        """
        if not self.min_layers <= len(tokens) <= self.max_layers:
            lengths = f"{self.min_layers} to {self.max_layers}"
            raise InvalidArchitecture(f"{self.name} has {lengths} tokens, not {len(tokens)}")
        mode: Mode = frozenset()
        for position, token in enumerate(tokens):
            kind = self.spec(int(token)).kind
            last = position == len(tokens) - 1
            if (kind == "output") != last:
                raise InvalidArchitecture(
                    f"position {position}: the output layer stands last and only there"
                )
            if position == 0 and kind not in self.first:
                raise InvalidArchitecture(
                    f"position 0: the first layer is {' or '.join(self.first)}, not {kind}"
                )
            if not self.allows(mode, kind):
                raise InvalidArchitecture(
                    f"position {position}: no {kind} after {', '.join(sorted(mode))}"
                )
            mode = self.next_mode(mode, kind)

    def build(self, tokens: Sequence[int], task: Task) -> LayerGraph:
        """Builds the graph of a sequence for the shape of a task.

        Raises:
            InvalidArchitecture: If a rule is broken or a window does not fit its map.
        """
        self.check(tokens)
        return self.begun(tokens, task)

    def begun(self, tokens: Sequence[int], task: Task) -> LayerGraph:
        """The graph of the layers so far; see `TokenSpace.begun`."""
        builder = GraphBuilder(task.input_shape)
        for token in tokens:
            if token:
                self.spec(int(token)).lower(builder, task.classes)
        return builder.build()

    def promised(self, tokens: Sequence[int], task: Task) -> Measurement:
        """Flash, RAM and MACs of a network, from its graph.

        Raises:
            InvalidArchitecture: If it does not build.
        """
        graph = self.build(tokens, task)
        return Measurement.of(
            "analytic",
            flash_bytes=costs.flash_bytes(graph),
            ram_bytes=costs.ram_bytes(graph),
            macs=costs.macs(graph),
        )
