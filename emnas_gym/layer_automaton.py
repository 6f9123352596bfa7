"""The automaton of chains of layers: its states are the shapes that a chain has reached."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from emnas_gym.automaton import Automaton, State
from emnas_gym.budgets import MASKED, Budgets
from emnas_gym.chain_costs import chain_costs
from emnas_gym.cost_vectors import COLUMNS, Costs, base_costs, join_costs
from emnas_gym.errors import ShapeError
from emnas_gym.grammar import Grammar, Mode
from emnas_gym.graph import Shape
from emnas_gym.tasks import Task


class LayerAutomaton(Automaton):
    """A state is the shape that the chain has reached and the rules that hold.

    The start has no rules but those of the first layer. Arguments and errors are `Automaton`'s.

    Attributes:
        params: Parameters of each token in each state, shape (states, K + 1); 0 for token 0.
    """

    grammar: Grammar
    params: NDArray[np.int64]

    def _explore(self) -> None:
        """Finds every state that is reachable within the limits, and all moves between them."""
        self.base = base_costs(self.task)
        self._layers = chain_costs(self.grammar, self.task.classes)
        start: State = (self.task.input_shape, None)
        self.states: list[State] = [start]
        index = {start: 0}
        moves: list[NDArray[np.int64]] = []
        prices: list[Costs] = []
        sizes: list[NDArray[np.int64]] = []
        depth = [0]
        while len(moves) < len(self.states):  # breadth first: `depth` is the least number of tokens
            row, price, params = self._moves(index, depth, len(moves))
            moves.append(row)
            prices.append(price)
            sizes.append(params)
        self.next_state = np.stack(moves)  # (states, K + 1): index, −1 end, −2 illegal
        self.price = np.stack(prices)  # (states, K + 1, 5)
        self.params = np.stack(sizes)

    def _moves(
        self, index: dict[State, int], depth: list[int], state: int
    ) -> tuple[NDArray[np.int64], Costs, NDArray[np.int64]]:
        """Where every token leads from a state, what it costs, and its parameters."""
        shape, mode = self.states[state]
        tokens = self._allowed(mode, last=depth[state] >= self.max_layers - 1)
        row = np.full(self.grammar.num_tokens + 1, -2, dtype=np.int64)
        price = np.zeros((len(row), COLUMNS), dtype=np.int64)
        params = np.zeros(len(row), dtype=np.int64)
        reached = {token: self._lower(shape, token, price, params) for token in tokens}
        fits = self.limits.allow(join_costs(self.base, price))
        for token, after in reached.items():
            if after is None or not fits[token]:
                continue
            kind = self.grammar.spec(token).kind
            if kind == "output":
                row[token] = -1
                continue
            target: State = (after, self.grammar.next_mode(mode or frozenset(), kind))
            if target not in index:
                index[target] = len(self.states)
                self.states.append(target)
                depth.append(depth[state] + 1)
            row[token] = index[target]
        canonical = np.array(self.grammar.canonical_token)
        twins = np.flatnonzero((canonical > 0) & (canonical < np.arange(len(canonical))))
        of = canonical[twins]
        row[twins], price[twins], params[twins] = row[of], price[of], params[of]
        return row, price, params

    def _allowed(self, mode: Mode | None, last: bool) -> list[int]:
        """Canonical tokens that the rules allow; only the output as the last one."""
        grammar = self.grammar
        kinds = {spec.kind for spec in grammar.specs}
        if mode is None:
            kinds &= set(grammar.first)
        else:
            kinds = {kind for kind in kinds if grammar.allows(mode, kind)}
        if last:
            kinds &= {"output"}
        return [
            token
            for token in range(1, grammar.num_tokens + 1)
            if grammar.canonical_token[token] in (0, token) and grammar.spec(token).kind in kinds
        ]

    def _lower(
        self, shape: Shape, token: int, price: Costs, params: NDArray[np.int64]
    ) -> Shape | None:
        """Shape after one layer on a shape, its costs put into the rows; None if it does not."""
        try:
            layer = self._layers.layer(shape, token)
        except ShapeError:
            return None
        price[token], params[token] = layer.costs, layer.params
        return layer.shape

    def _why_infeasible(self) -> str:
        asked = ", ".join(f"{k} = {v}" for k, v in self.budgets.to_json().items() if k in MASKED)
        free = automaton(self.grammar, self.task, Budgets(), self.min_layers, self.max_layers)
        least = free.least_costs()
        return (
            f"no network of {self.grammar.name} with {self.min_layers} to {self.max_layers} layers "
            f"on {self.task.name} fits {asked}; the least of each alone is "
            + ", ".join(f"{name} = {value}" for name, value in least.items())
        )


@lru_cache(maxsize=32)
def automaton(
    grammar: Grammar, task: Task, budgets: Budgets, min_layers: int, max_layers: int
) -> LayerAutomaton:
    """The automaton of these arguments, made once a process."""
    return LayerAutomaton(grammar, task, budgets, min_layers, max_layers)
