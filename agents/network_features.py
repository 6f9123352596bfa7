"""Whole networks as vectors: what a policy over networks weighs.

Of a chain: the details of each layer at its position, how often they occur, and the length. Of a
table: the operation at each position, and where its positions are the edges of a graph (named
``source→target``) the operations along each path from the first node to the last. Operations that
cut an edge are found by the classes of the table: where one stands everywhere else, it does not
matter what stands on an edge that does not lead to the last node. How good any is, is not known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from agents.token_features import token_features
from emnas_gym.automaton import Automaton
from emnas_gym.errors import InfeasibleBudgets, InvalidArchitecture
from emnas_gym.table_space import TableSpace

EDGE = re.compile(r"(?P<source>[^→]+)→(?P<target>[^→]+)")
MAX_PATHS = 64  # of a graph; one with more is taken for a list of positions
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Tokens = tuple[int, ...]
Path = tuple[int, ...]  # positions


class NetworkFeatures:
    """φ(network) of every network of an automaton.

    Args:
        table: Its space decides what is looked at.
    """

    def __init__(self, table: Automaton) -> None:
        self.table, self.space, self.length = table, table.grammar, table.max_layers
        self._tokens = token_features(self.space).astype(np.float64)

    def of(self, networks: Sequence[Tokens]) -> Floats:
        """Features of networks, shape (N, F)."""
        tokens = np.zeros((len(networks), self.length), dtype=np.int64)
        for row, network in zip(tokens, networks, strict=True):
            row[: len(network)] = network
        return self._of_table(tokens) if isinstance(self.space, TableSpace) else self._chain(tokens)

    def key(self, network: Tokens) -> Tokens:
        """Equal for networks that compute the same."""
        if isinstance(self.space, TableSpace):
            return (int(self.space.table.first_of_class[self.space.row(network)]),)
        return self.space.canonical_tokens(network)

    @cached_property
    def whole_space(self) -> tuple[list[Tokens], Floats] | None:
        """Every network that fits, and its features; None where there are too many to list."""
        try:
            listed = self.space.enumerate(self.table.task, self.table.budgets)
            networks = [network.tokens for network in listed if self.table.fits(network.tokens)]
        except InfeasibleBudgets:
            return None
        return networks, self.of(networks)

    def _chain(self, tokens: Ints) -> Floats:
        layers = self._tokens[tokens]  # (N, T, F)
        lengths = (tokens > 0).sum(axis=1)
        counts = layers.sum(axis=1) / np.sqrt(np.maximum(lengths, 1))[:, None]
        flat = layers.reshape(len(tokens), -1)
        return np.concatenate([flat, counts, np.eye(self.length + 1)[lengths]], axis=1)

    # ------------------------------------------------------------------------------- tables

    def _of_table(self, tokens: Ints) -> Floats:
        cut: NDArray[np.bool_] = self.cutting.take(tokens)  # (N, T)
        every = np.eye(self.space.num_tokens + 1)[tokens]  # (N, T, K + 1)
        if not self.paths:
            listed: Floats = every.sum(axis=1)[:, 1:]
            return listed
        operations = self._operation[tokens]  # (N, T, operations)
        live: NDArray[np.bool_] = np.zeros(tokens.shape, dtype=np.bool_)
        parts = []
        for path in map(list, self.paths):
            whole = np.asarray(~cut[:, path].any(axis=1), dtype=np.bool_)
            live[:, path] |= whole[:, None]
            parts.append(operations[:, path].sum(axis=1) * whole[:, None])
            parts.append(whole[:, None].astype(np.float64))
        placed = (every * live[..., None]).sum(axis=1)[:, 1:]
        return np.concatenate([placed, *parts], axis=1)

    @cached_property
    def _operation(self) -> Floats:
        """The operation of each token as one-hot, equal at all positions, (K + 1, operations)."""
        numbers = self.space.details[:, 1].astype(np.int64)
        return np.eye(int(numbers.max()) + 1)[numbers][:, 1:]

    @cached_property
    def paths(self) -> list[Path]:
        """Positions of every path from the first node to the last; empty where there is no graph.

        The first node is the one that no edge leads to, the last one that none leads from.
        """
        assert isinstance(self.space, TableSpace)
        found = [EDGE.fullmatch(position) for position in self.space.table.positions]
        edges = [(m["source"], m["target"]) for m in found if m is not None]
        starts = {s for s, _ in edges} - {t for _, t in edges}
        ends = {t for _, t in edges} - {s for s, _ in edges}
        if len(edges) < len(found) or len(starts) != 1 or len(ends) != 1:
            return []
        return _paths(edges, starts.pop(), ends.pop())

    @cached_property
    def cutting(self) -> NDArray[np.bool_]:
        """Whether a token cuts its edge, shape (K + 1,)."""
        space = self.space
        cuts = np.zeros(space.num_tokens + 1, dtype=np.bool_)
        if not isinstance(space, TableSpace) or not self.paths:
            return cuts
        numbers = space.details[:, 1].astype(np.int64)
        inner = sorted(set(range(self.length)) - {path[-1] for path in self.paths})
        for operation in range(1, int(numbers.max()) + 1):
            everywhere = self._everywhere(operation)
            if everywhere is not None and inner and self._cuts(everywhere, inner):
                cuts |= numbers == operation
        return cuts

    def _everywhere(self, operation: int) -> list[int] | None:
        """The network of one operation at all positions; None where a position lacks it."""
        details = self.space.details
        rows = [
            (details == (p + 1, operation)).all(axis=1).nonzero()[0] for p in range(self.length)
        ]
        return [int(row[0]) for row in rows] if all(map(len, rows)) else None

    def _cuts(self, everywhere: list[int], inner: list[int]) -> bool:
        """Whether no change at one inner position makes a difference."""
        try:
            alone = self.key(tuple(everywhere))
            for position in inner:
                for token in np.flatnonzero(self.space.details[:, 0] == position + 1).tolist():
                    changed = [*everywhere[:position], token, *everywhere[position + 1 :]]
                    if self.key(tuple(changed)) != alone:
                        return False
        except InvalidArchitecture:  # a row that the table lacks: then it is not known
            return False
        return True


def _paths(edges: list[tuple[str, str]], start: str, end: str) -> list[Path]:
    """All paths between two nodes; none if there are more than `MAX_PATHS`, or a loop."""
    done: list[Path] = []
    begun: list[tuple[str, Path]] = [(start, ())]
    while begun:
        node, path = begun.pop()
        if len(path) > len(edges) or len(done) + len(begun) > MAX_PATHS:
            return []
        if node == end:
            done.append(path)
            continue
        begun += [(target, (*path, i)) for i, (s, target) in enumerate(edges) if s == node]
    return sorted(done)


@lru_cache(maxsize=4)
def network_features(table: Automaton) -> NetworkFeatures:
    """The features of these networks, made once a process."""
    return NetworkFeatures(table)
