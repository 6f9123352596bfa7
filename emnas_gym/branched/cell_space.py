"""Networks of cells as sequences of one token a decision."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from emnas_gym import costs
from emnas_gym.branched.cell import Cell, Choices
from emnas_gym.branched.cell_automaton import CellAutomaton, cell_automaton
from emnas_gym.branched.skeleton import Skeleton
from emnas_gym.budgets import Budgets
from emnas_gym.errors import InvalidArchitecture
from emnas_gym.graph import LayerGraph
from emnas_gym.layers import LayerSpec
from emnas_gym.measurement import Measurement
from emnas_gym.position_space import PositionSpace
from emnas_gym.tasks import DIGITS, Task

WIDEST, MOST_CELLS = 4096, 64  # channels of a stage, cells of a network


@dataclass(frozen=True, eq=False)
class CellSpace(PositionSpace):
    """Networks whose cells are searched; made by `emnas_gym.space.load_space` from a file.

    Every decision has a position and every position one token. Networks whose output is connected
    to no input are none of the space.

    Masks guarantee budgets on flash and MACs, which add up over edges. RAM does not: it depends on
    which maps are alive at the same time, and is decided when a network is finished
    (``info["feasible"]``).

    Attributes:
        name: Name of the space.
        skeleton: What is fixed.
        cells: What is searched, by the names that the skeleton uses.
        source: File the space was read from; empty for a space of the package.
    """

    name: str
    skeleton: Skeleton
    cells: Mapping[str, Cell] = field(repr=False)
    source: str = ""

    def __repr__(self) -> str:
        """Name, tokens and positions."""
        return f"CellSpace({self.name}, {self.num_tokens} tokens, {self.max_layers} positions)"

    # ------------------------------------------------------------------------------- tokens

    @cached_property
    def groups(self) -> dict[str, Cell]:
        """The cell of every group of decisions, in order."""
        return {group: self.cells[name] for group, name in self.skeleton.groups.items()}

    @cached_property
    def operations(self) -> dict[str, tuple[str, ...]]:
        """What may be chosen at each position, in the order of tokens."""
        several = len(self.groups) > 1
        return {
            f"{group}: {position.name}" if several else position.name: position.choices
            for group, cell in self.groups.items()
            for position in cell.positions
        }

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits that change with skeleton, edges or operations."""
        content = repr((self.name, self.skeleton, sorted(self.cells.items())))
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    def spec(self, token: int) -> LayerSpec:
        """No token is a layer here.

        Raises:
            InvalidArchitecture: Always.
        """
        raise InvalidArchitecture(
            f"{self.name} is a space of cells: its tokens are choices in a cell, not layers; ask a "
            "network for its graph"
        )

    # ------------------------------------------------------------------------------ networks

    def choices(self, tokens: Sequence[int]) -> dict[str, Choices]:
        """What is chosen, by group.

        Raises:
            InvalidArchitecture: If a token does not belong to its position.
        """
        return self._by_group(self.all_indices(tokens))

    def _by_group(self, found: Sequence[int]) -> dict[str, Choices]:
        ends = np.cumsum([len(cell.positions) for cell in self.groups.values()]).tolist()
        parts = zip(self.groups, [0, *ends], ends, strict=False)
        return {group: tuple(found[start:end]) for group, start, end in parts}

    def check(self, tokens: Sequence[int]) -> None:
        """Checks that tokens are a network of the space, shapes apart.

        Raises:
            InvalidArchitecture: If a token does not belong to its position, or a cell has no way
                from an input to its output.
        """
        for group, choices in self.choices(tokens).items():
            if not self.groups[group].connected(choices):
                raise InvalidArchitecture(
                    f"{self.name}: no way leads from the input of {group} to its output: too many "
                    "of its edges are none"
                )

    def canonical_tokens(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """Tokens of the network that stands for all whose cells are the same graphs."""
        parts = self.choices(tokens).items()
        found = [c for group, choices in parts for c in self.groups[group].canonical(choices)]
        return tuple(first + c for first, c in zip(self.first_token, found, strict=True))

    def build(self, tokens: Sequence[int], task: Task) -> LayerGraph:
        """Builds the graph of the canonical network, so that equal networks are equal graphs.

        Raises:
            InvalidArchitecture: If a rule is broken or a window does not fit its map.
        """
        self.check(tokens)
        choices = self.choices(self.canonical_tokens(tokens))
        return self.skeleton.assemble(task, self.cells, choices)[0]

    def begun(self, tokens: Sequence[int], task: Task) -> LayerGraph:
        """The graph of the choices so far, up to the cell that is not decided; for pictures.

        Raises:
            InvalidArchitecture: If a token does not belong to its position.
        """
        placed = [int(token) for token in tokens if token]
        if len(placed) == self.max_layers:
            return self.build(placed, task)
        choices = self._by_group(self.indices(placed))
        return self.skeleton.assemble(task, self.cells, choices)[0]

    def promised(self, tokens: Sequence[int], task: Task) -> Measurement:
        """Flash and MACs of a network, from its graph; RAM is no part of what masks guarantee.

        Raises:
            InvalidArchitecture: If it does not build.
        """
        graph = self.build(tokens, task)
        flash, macs = costs.flash_bytes(graph), costs.macs(graph)
        return Measurement.of("analytic", flash_bytes=flash, macs=macs)

    def automaton(
        self,
        task: Task = DIGITS,
        budgets: Budgets | None = None,
        min_layers: int | None = None,
        max_layers: int | None = None,
    ) -> CellAutomaton:
        """The tables of legal tokens and costs; made once a process.

        Raises:
            InfeasibleBudgets: If no network fits, or another length is asked for.
        """
        self.check_lengths(min_layers, max_layers)
        return cell_automaton(self, task, budgets or Budgets())

    def size(self, length: int | None = None) -> int:
        """Exact number of sequences, those of disconnected cells included: a product."""
        if length not in (None, self.max_layers):
            return 0
        return math.prod(map(len, self.operations.values()))

    def with_cells(self, cells: int) -> CellSpace:
        """The same space with so many cells in every stage; the tokens of shared cells stay.

        Raises:
            InvalidArchitecture: If that is no whole number above 0, or more than `MOST_CELLS`.
        """
        count = len(self.skeleton.stages)
        if type(cells) is not int or not 1 <= cells <= MOST_CELLS // count:
            raise InvalidArchitecture(
                f"{self.name} has 1 to {MOST_CELLS // count} cells a stage, not {cells!r}"
            )
        stages = tuple(replace(stage, cells=cells) for stage in self.skeleton.stages)
        return self._changed(f"cells={cells}", replace(self.skeleton, stages=stages))

    def _changed(self, change: str, skeleton: Skeleton) -> CellSpace:
        """The space under a name that says so."""
        (name, _, before), key = self.name.partition("@"), change.partition("=")[0]
        kept = [part for part in before.split(",") if part and part.partition("=")[0] != key]
        return replace(self, name=f"{name}@{','.join([*kept, change])}", skeleton=skeleton)

    def with_channels(self, channels: int) -> CellSpace:
        """The same space with so many channels in the stem, and stages in proportion.

        Raises:
            InvalidArchitecture: If a stage would have a part of a channel, or over `WIDEST`.
        """
        old = self.skeleton
        if not isinstance(channels, int) or isinstance(channels, bool) or channels < 1:
            raise InvalidArchitecture(f"channels are a whole number above 0, not {channels!r}")
        stages = []
        for stage in old.stages:
            width, rest = divmod(stage.channels * channels, old.channels)
            if rest or not 1 <= width <= WIDEST:
                raise InvalidArchitecture(
                    f"{self.name} with {channels} channels would have a stage of "
                    f"{width + rest / old.channels:g}; stages have 1 to {WIDEST:,}, whole ones"
                )
            stages.append(replace(stage, channels=width))
        skeleton = replace(old, channels=channels, stages=tuple(stages))
        return self._changed(f"channels={channels}", skeleton)
