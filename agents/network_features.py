"""Whole networks as vectors: what a policy over networks weighs.

Of a chain: the details of each layer at its position, how often they occur, and the length. Of a
table or of cells: the operation at each position, and where the graph of positions is known
(`agents.graphs_behind`) the operations along each live path. How good any is, is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from agents.graphs_behind import graphs_behind
from agents.token_features import token_features
from emnas_gym.automaton import Automaton
from emnas_gym.errors import InfeasibleBudgets
from emnas_gym.position_space import PositionSpace

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
        placed = isinstance(self.space, PositionSpace)
        return self._positions(tokens) if placed else self._chain(tokens)

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

    # ----------------------------------------------------------------------------- positions

    def _positions(self, tokens: Ints) -> Floats:
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
    def paths(self) -> tuple[Path, ...]:
        """Positions of every way from an input to its output; none where no graph is known."""
        return tuple(way for graph in graphs_behind(self.space) for way in graph.ways)

    @cached_property
    def cutting(self) -> NDArray[np.bool_]:
        """Whether a token is no edge, shape (K + 1,)."""
        assert isinstance(self.space, PositionSpace)
        dead = {graph.wiring.dead for graph in graphs_behind(self.space)}
        names = [name for names in self.space.operations.values() for name in names]
        return np.array([False, *(name in dead for name in names)])


@lru_cache(maxsize=4)
def network_features(table: Automaton) -> NetworkFeatures:
    """The features of these networks, made once a process."""
    return NetworkFeatures(table)
