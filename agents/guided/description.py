"""Networks as numbers for models of a search: groups of columns that mean the same kind of thing.

Of tables and cells whose graph is known (`agents.graphs_behind`, `agents.guided.cell_ways`): the
live operations, the live paths by their operations in order, the same regardless of order, and how
often each operation is live. Of those without one: the operations, stretches of neighbours, and
counts. Of layers: the summaries of `emnas_gym.features` and the path encoding of
`emnas_gym.models.paths`. None of it says which operation is good.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from agents.graphs_behind import GraphBehind, graphs_behind
from agents.guided.cell_ways import free_cells, ways
from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.branched.free_cell import FreeCell
from emnas_gym.encodings import detail_table
from emnas_gym.errors import UnknownName
from emnas_gym.models.inputs import encode
from emnas_gym.position_space import PositionSpace
from emnas_gym.problem import Problem
from emnas_gym.space import SearchSpace
from emnas_gym.table_space import TableSpace
from predictors.supernet.wirings import wiring

Tokens = tuple[int, ...]
Array = NDArray[np.float64]
Numbers = NDArray[np.int64]
KEPT = 4096  # descriptions kept, for networks that are asked about again
SMALL = 50_000  # rows of a table that are described once and kept
WHAT = ("all", "plain", "paths")
WORDS = 1024  # columns of paths; where there are more sequences of operations, some share one


def live_groups(space: PositionSpace, tokens: Numbers) -> list[Array]:
    """Columns of a space with graphs.

    Args:
        space: One of which `agents.graphs_behind` knows which edges its positions are.
        tokens: (N, positions).

    Returns:
        Live operations one-hot; live paths; live paths regardless of the order of operations;
        counts of live operations; each of all graphs side by side. A path of c operations among k
        is the number with these digits.
    """
    parts = [_live_groups(space, graph, tokens) for graph in graphs_behind(space)]
    return [np.concatenate(kind, axis=1) for kind in zip(*parts, strict=True)]


def _live_groups(space: PositionSpace, graph: GraphBehind, tokens: Numbers) -> list[Array]:
    wiring = graph.wiring
    numbers, names = _operations(space, wiring.dead)
    choices = numbers[tokens[:, graph.positions]]  # 0 is the dead operation
    kept = np.where(wiring.live(choices == 0), choices, 0)
    width = min(_words(len(names), max(map(len, wiring.ways))), WORDS)
    ordered, sets = np.zeros((len(tokens), width)), np.zeros((len(tokens), width))
    for way in wiring.ways:
        word = choices[:, way]
        open_ = np.flatnonzero((word > 0).all(axis=1))
        for matrix, digits in ((ordered, word[open_]), (sets, np.sort(word[open_], axis=1))):
            np.add.at(matrix, (open_, _column(digits, len(names), width)), 1.0)
    hot = [kept == i for i in range(1, len(names) + 1)]
    counts = np.stack([h.sum(axis=1) for h in hot], axis=1)
    return [np.concatenate(hot, axis=1).astype(float), ordered, sets, counts.astype(float)]


def _operations(space: PositionSpace, dead: str = "") -> tuple[Numbers, list[str]]:
    """A number for the operation of every token, from 1, 0 for the dead one; and their names."""
    choice = [name for names in space.operations.values() for name in names]
    names = [name for name in dict.fromkeys(choice) if name != dead]
    return np.array([0, *(0 if n == dead else 1 + names.index(n) for n in choice)]), names


def _words(operations: int, longest: int) -> int:
    """Number of sequences of one to so many operations."""
    return sum(operations**length for length in range(1, longest + 1))


def _column(digits: Numbers, operations: int, width: int) -> Numbers:
    """Column of each row of operations, which are numbered from 1."""
    code = np.zeros(len(digits), dtype=np.int64)
    for digit in digits.T:
        code = (code * operations + digit) % (1 << 31)
    column: Numbers = (code - 1) % width
    return column


def free_groups(space: CellSpace, tokens: Numbers) -> list[Array]:
    """Columns of cells whose nodes choose what they read.

    Args:
        space: One of `agents.guided.cell_ways.free_cells`.
        tokens: (N, positions).

    Returns:
        The same four as `live_groups`, of the edges that each network has.
    """
    parts = [_free_groups(space, group, cell, tokens) for group, cell in free_cells(space).items()]
    return [np.concatenate(kind, axis=1) for kind in zip(*parts, strict=True)]


def _free_groups(space: CellSpace, group: str, cell: FreeCell, tokens: Numbers) -> list[Array]:
    wires, names = wiring(cell), list(cell.operations)
    width = min(_words(len(names), cell.nodes), WORDS)
    hot = np.zeros((len(tokens), len(wires.edges), len(names)))
    words: dict[int, list[tuple[int, list[int]]]] = {}  # length → row, operations from 1
    for row, network in enumerate(tokens.tolist()):
        choices = space.choices(network)[group]
        for edge, operation in wires.running(choices):
            hot[row, edge, operation] = 1.0
        for way in ways(cell, choices):
            words.setdefault(len(way), []).append((row, [1 + names.index(name) for name in way]))
    ordered, sets = np.zeros((len(tokens), width)), np.zeros((len(tokens), width))
    for found in words.values():
        rows, digits = np.array([row for row, _ in found]), np.array([word for _, word in found])
        np.add.at(ordered, (rows, _column(digits, len(names), width)), 1.0)
        np.add.at(sets, (rows, _column(np.sort(digits, axis=1), len(names), width)), 1.0)
    return [hot.reshape(len(tokens), -1), ordered, sets, hot.sum(axis=1)]


def table_groups(space: PositionSpace, tokens: Numbers) -> list[Array]:
    """Columns of a table, or of cells, without a graph.

    Args:
        space: Its space.
        tokens: (N, positions).

    Returns:
        Tokens one-hot; stretches of one or two neighbouring operations; counts of operations.
    """
    numbers, names = _operations(space)
    choices = numbers[tokens]
    counts = np.stack([(choices == i).sum(axis=1) for i in range(1, len(names) + 1)], axis=1)
    width = min(_words(len(names), 2), WORDS)
    pairs = np.zeros((len(tokens), width))
    rows = np.arange(len(tokens))
    for place in range(tokens.shape[1]):
        for size in range(1, min(2, tokens.shape[1] - place) + 1):
            column = _column(choices[:, place : place + size], len(names), width)
            np.add.at(pairs, (rows, column), 1.0)
    return [onehot(space, tokens), pairs, counts.astype(float)]


def onehot(space: PositionSpace, tokens: Numbers) -> Array:
    """Which tokens a network has, shape (N, K)."""
    found: Array = np.zeros((len(tokens), space.num_tokens))
    np.put_along_axis(found, tokens - 1, 1.0, axis=1)
    return found


@lru_cache(maxsize=4)
def _whole_table(space: TableSpace, what: str) -> tuple[list[int], Array]:
    """Widths of the groups, and all features of every row of a small table; once a process."""
    tokens = np.array([space.tokens_of(row) for row in range(len(space.table))])
    parts = _groups(space, tokens, what)
    return [part.shape[1] for part in parts], np.concatenate(parts, axis=1)


def _groups(space: PositionSpace, tokens: Numbers, what: str) -> list[Array]:
    if graphs_behind(space):
        parts = live_groups(space, tokens)
    elif isinstance(space, CellSpace) and free_cells(space):
        parts = free_groups(space, tokens)
    else:
        parts = table_groups(space, tokens)
    return {"all": parts, "plain": [onehot(space, tokens), parts[1]], "paths": parts[1:2]}[what]


class Description:
    """Describes networks of a problem.

    Args:
        problem: What is searched.
        what: ``"all"`` groups, ``"plain"`` (tokens by position, and paths) or ``"paths"`` alone.

    Attributes:
        groups: Width of every group of columns.
    """

    def __init__(self, problem: Problem, what: str = "all") -> None:
        if what not in WHAT:
            raise UnknownName("description", what, WHAT)
        self._problem, self._what = problem, what
        self._centre: Array | float = 0.0
        self._scale: Array | float = 1.0
        self.groups: list[int] = []
        self._kept: dict[Tokens, Array] = {}

    def __call__(self, networks: Sequence[Tokens]) -> Array:
        """Features of N networks, shape (N, sum of `groups`)."""
        space = self._problem.space
        if isinstance(space, TableSpace) and len(space.table) <= SMALL:
            self.groups, whole = _whole_table(space, self._what)
            found: Array = whole[space.rows_of(np.array(networks, dtype=np.int16))]
            return found
        new = [tokens for tokens in dict.fromkeys(networks) if tokens not in self._kept]
        if len(self._kept) + len(new) > KEPT:
            self._kept.clear()
            new = list(dict.fromkeys(networks))
        if new:
            parts = self._parts(new)
            self.groups = [part.shape[1] for part in parts]
            self._kept.update(zip(new, np.concatenate(parts, axis=1), strict=True))
        return np.stack([self._kept[tokens] for tokens in networks])

    def standardise(self, networks: Sequence[Tokens]) -> None:
        """Takes centre and scale of summaries of layers from these networks."""
        if isinstance(self._problem.space, SearchSpace) and self._what == "all":
            raw = self._summaries(networks)
            self._centre, spread = raw.mean(axis=0), raw.std(axis=0)
            self._scale = np.where(spread > 1e-6, spread, 1.0)
            self._kept.clear()

    def _parts(self, networks: Sequence[Tokens]) -> list[Array]:
        space = self._problem.space
        if isinstance(space, PositionSpace):
            return _groups(space, np.array(networks, dtype=np.int64), self._what)
        if isinstance(space, SearchSpace):
            batch = [space.architecture(t) for t in networks]
            paths = encode("path", batch, self._problem.task)
            if self._what == "paths":
                return [paths]
            if self._what == "plain":
                return [self._details(networks), paths]
            return [(self._summaries(networks) - self._centre) / self._scale, paths]
        return [self._details(networks)]

    def _summaries(self, networks: Sequence[Tokens]) -> Array:
        batch = [self._problem.space.architecture(tokens) for tokens in networks]
        found: Array = encode("features", batch, self._problem.task)
        return found

    def _details(self, networks: Sequence[Tokens]) -> Array:
        """Details of the token at every position, each from −1 to 1."""
        table = detail_table(self._problem.space).astype(np.float64)
        table = table / np.maximum(np.abs(table).max(axis=0), 1e-9)
        rows = np.zeros((len(networks), self._problem.max_layers, table.shape[1]))
        for row, tokens in zip(rows, networks, strict=True):
            row[: len(tokens)] = table[list(tokens)]
        return rows.reshape(len(networks), -1)
