"""Masks from tables: which token is legal next, so that a network that fits can still be finished.

At one input shape a space is an automaton. Its state is the shape that the chain has reached and
the rules that hold; a token moves it on and costs flash, MACs and RAM (`cost_vectors`). For every
state and number of tokens left the table holds the Pareto-minimal costs of all completions that
build. A token is legal exactly if one of them fits into what the budgets leave: no dead end, none
refused that could have fitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from emnas_gym.budgets import MASKED, Budgets
from emnas_gym.chain_costs import chain_costs
from emnas_gym.cost_vectors import (
    COLUMNS,
    FLASH,
    MACS,
    NEVER,
    UNLIMITED,
    Costs,
    Limits,
    base_costs,
    join_costs,
    no_costs,
    padded,
    pareto_minimal,
    ram_of,
)
from emnas_gym.errors import (
    IllegalAction,
    InfeasibleBudgets,
    InvalidArchitecture,
    ShapeError,
)
from emnas_gym.grammar import Grammar, Mode
from emnas_gym.graph import Shape
from emnas_gym.tasks import Task

State = tuple[Shape, Mode | None]  # no mode at the very start, where the first layer's rules hold


@dataclass
class Cursor:
    """A walk through the automaton: where it is and what it has spent.

    Attributes:
        state: Index of the state; −1 once the output layer is placed.
        spent: Costs so far, shape (5,): flash, MACs, and the parts of RAM (`cost_vectors`).
        tokens: Tokens so far.
    """

    state: int
    spent: Costs
    tokens: list[int] = field(default_factory=list)

    @property
    def done(self) -> bool:
        """Whether the output layer is placed."""
        return self.state < 0


@dataclass(frozen=True)
class Options:
    """What may follow a state, and the least that each choice costs until the end.

    Attributes:
        tokens: (n,), ascending.
        least: (n, m, 5), costs from here to the end by the best completions, padded with `NEVER`.
        enough: (5,); where this still fits, every token is legal.
    """

    tokens: NDArray[np.int64]
    least: Costs
    enough: Costs


class Automaton:
    """The automaton of a grammar for one task, one set of budgets and one range of lengths.

    Args:
        grammar: Tokens and rules.
        task: Input shape and classes.
        budgets: Limits; those on flash, RAM and MACs are guaranteed.
        min_layers: Least number of tokens, the end token included.
        max_layers: Largest number of tokens, the end token included.

    Raises:
        InfeasibleBudgets: If no network fits.
    """

    def __init__(
        self, grammar: Grammar, task: Task, budgets: Budgets, min_layers: int, max_layers: int
    ) -> None:
        if not grammar.min_layers <= min_layers <= max_layers <= grammar.max_layers:
            asked, known = (min_layers, max_layers), (grammar.min_layers, grammar.max_layers)
            raise InfeasibleBudgets(f"lengths {asked} lie outside those of {grammar.name}, {known}")
        self.grammar, self.task, self.budgets = grammar, task, budgets
        self.min_layers, self.max_layers = min_layers, max_layers
        self.limits = Limits.of(budgets)
        self.base = base_costs(task)
        self._layers = chain_costs(grammar, task.classes)
        self._explore()
        self._exact: list[list[Costs]] = self._completions()
        self._options: dict[tuple[int, int, int], Options] = {}
        self._completion_of: dict[tuple[int, int, int], Costs] = {}
        if not self.feasible_lengths:
            raise InfeasibleBudgets(self._why_infeasible())

    # ------------------------------------------------------------------------------ building

    def _explore(self) -> None:
        """Finds every state that is reachable within the limits, and all moves between them."""
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
        self.params = np.stack(sizes)  # (states, K + 1); 0 for token 0

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

    def _completions(self) -> list[list[Costs]]:
        """For r = 0, 1, … tokens left: the Pareto-minimal costs of finishing from each state."""
        nothing = no_costs()
        end = self.grammar.end_token
        count = len(self.states)
        ends = [
            self.price[s, end][None] if self.next_state[s, end] == -1 else nothing
            for s in range(count)
        ]
        steps = [self._cheapest_moves(s) for s in range(count)]
        table = [[nothing] * count, [self._prune(costs) for costs in ends]]
        for _ in range(2, self.max_layers):
            before = table[-1]
            table.append([self._prune(self._extend(steps[s], before)) for s in range(count)])
        return table

    def _cheapest_moves(self, state: int) -> list[tuple[int, Costs]]:
        """For every state that one token reaches: the Pareto-minimal prices of getting there."""
        row = self.next_state[state]
        targets = np.unique(row[row >= 0])
        return [(int(t), self._prune(self.price[state, row == t])) for t in targets]

    def _extend(self, steps: list[tuple[int, Costs]], before: list[Costs]) -> Costs:
        parts = [
            join_costs(price[:, None], before[target][None]).reshape(-1, COLUMNS)
            for target, price in steps
            if len(before[target])
        ]
        return np.concatenate(parts) if parts else no_costs()

    def _prune(self, vectors: Costs) -> Costs:
        """Drops costs that break a limit alone, ignores unlimited ones, keeps the Pareto front."""
        if not len(vectors):
            return vectors
        vectors = vectors[self.limits.allow(join_costs(self.base, vectors))]
        return pareto_minimal(np.where(self.limits.matter, vectors, 0))

    def _why_infeasible(self) -> str:
        asked = ", ".join(f"{k} = {v}" for k, v in self.budgets.to_json().items() if k in MASKED)
        free = automaton(self.grammar, self.task, Budgets(), self.min_layers, self.max_layers)
        least = free.least_costs()
        return (
            f"no network of {self.grammar.name} with {self.min_layers} to {self.max_layers} layers "
            f"on {self.task.name} fits {asked}; the least of each alone is "
            + ", ".join(f"{name} = {value}" for name, value in least.items())
        )

    # ------------------------------------------------------------------------------- walking

    @cached_property
    def feasible_lengths(self) -> tuple[int, ...]:
        """Numbers of tokens for which at least one network fits."""
        lengths = range(self.min_layers, self.max_layers + 1)
        return tuple(n for n in lengths if len(self.options(0, n - 1, n - 1).tokens))

    def start(self) -> Cursor:
        """A walk at its first token."""
        return Cursor(0, self.base.copy())

    def options(self, state: int, low: int, high: int) -> Options:
        """Tokens after which a network can be finished with low to high further tokens."""
        key = (state, low, high)
        if key not in self._options:
            self._options[key] = self._make_options(state, low, high)
        return self._options[key]

    def _make_options(self, state: int, low: int, high: int) -> Options:
        row = self.next_state[state]
        tokens = np.flatnonzero(row >= 0)
        targets, inverse = np.unique(row[tokens], return_inverse=True)
        rests = [self._completion(int(t), max(low, 1), high) for t in targets]
        rest = padded(rests)[inverse] if rests else np.zeros((0, 0, COLUMNS), dtype=np.int64)
        end = self.grammar.end_token
        if low <= 0 <= high and row[end] == -1:
            tokens = np.append(tokens, end)
            last = np.full((1, max(rest.shape[1], 1), COLUMNS), NEVER, dtype=np.int64)
            last[0, 0] = 0
            width = last.shape[1] - rest.shape[1]
            rest = np.pad(rest, ((0, 0), (0, width), (0, 0)), constant_values=NEVER)
            rest = np.concatenate([rest, last])
        least = join_costs(self.price[state, tokens][:, None], rest)
        fits = self.limits.allow(join_costs(self.base, least))
        kept = fits.any(axis=1)
        best = least[kept, fits[kept].argmax(axis=1)] if kept.any() else no_costs()
        enough = best.max(axis=0, initial=0)
        order = np.flatnonzero(kept)[np.argsort(tokens[kept])]
        return Options(tokens[order], least[order], enough)

    def _completion(self, state: int, low: int, high: int) -> Costs:
        """Pareto-minimal costs of finishing from a state with low to high tokens."""
        key = (state, low, high)
        if key not in self._completion_of:
            fronts = [self._exact[r][state] for r in range(low, high + 1)]
            self._completion_of[key] = self._prune(np.concatenate(fronts)) if fronts else no_costs()
        return self._completion_of[key]

    def legal(self, cursor: Cursor, length: int | None = None) -> NDArray[np.int64]:
        """Ids of the tokens that are legal next, in ascending order; empty once it is done.

        Args:
            cursor: The walk so far.
            length: Asks for networks of exactly this many tokens; any allowed length if None.
        """
        if cursor.done:
            return np.zeros(0, dtype=np.int64)
        placed = len(cursor.tokens) + 1
        shortest, longest = (length, length) if length else (self.min_layers, self.max_layers)
        options = self.options(cursor.state, max(shortest - placed, 0), longest - placed)
        if self.limits.allow(join_costs(cursor.spent, options.enough)):
            return options.tokens
        total = join_costs(cursor.spent, options.least)
        return options.tokens[self.limits.allow(total).any(axis=1)]

    def mask(self, cursor: Cursor, length: int | None = None) -> NDArray[np.int8]:
        """Legal actions as ones, shape (K + 1,); token 0 is legal exactly once it is done."""
        mask = np.zeros(self.grammar.num_tokens + 1, dtype=np.int8)
        if cursor.done:
            mask[0] = 1
        else:
            mask[self.legal(cursor, length)] = 1
        return mask

    def step(self, cursor: Cursor, token: int) -> None:
        """Places a token.

        Raises:
            IllegalAction: If it does not build or breaks a rule; budgets are the mask's business.
        """
        target = -2 if cursor.done else int(self.next_state[cursor.state, token])
        if target == -2:
            raise IllegalAction(f"token {token} cannot follow {cursor.tokens}")
        cursor.spent = join_costs(cursor.spent, self.price[cursor.state, token])
        cursor.tokens.append(token)
        cursor.state = target

    def fits(self, tokens: Sequence[int]) -> bool:
        """Whether a finished sequence keeps rules and lengths, builds, and fits the budgets."""
        if not self.min_layers <= len(tokens) <= self.max_layers:
            return False
        try:
            _, spent = self.walk(tokens)
        except InvalidArchitecture:
            return False
        return bool(self.limits.allow(spent))

    def walk(self, tokens: Sequence[int]) -> tuple[list[int], Costs]:
        """The state in which each token of a finished sequence is placed, and its total costs.

        Raises:
            InvalidArchitecture: If it does not end with its last token, or leaves the tables.
        """
        state, states, spent = 0, [], self.base
        for token in tokens:
            states.append(state)
            target = -2 if state < 0 else int(self.next_state[state, token])
            if target == -2:
                raise InvalidArchitecture(
                    f"{list(tokens)}: {self.grammar.name} on {self.task.name} has no token {token} "
                    f"at position {len(states) - 1} within these budgets"
                )
            spent = join_costs(spent, self.price[state, token])
            state = target
        if state != -1:
            raise InvalidArchitecture(f"{list(tokens)}: the output layer is missing")
        return states, spent

    def least_costs(self) -> dict[str, int]:
        """The least flash, RAM and MACs that any network needs, each for itself."""
        return {
            "flash_bytes": self._least(FLASH),
            "ram_bytes": self._least_ram(),
            "macs": self._least(MACS),
        }

    def _least(self, column: int) -> int:
        """Least total of a column that adds up, over all lengths, by dynamic programming."""
        best = np.full((self.max_layers + 1, len(self.states)), UNLIMITED, dtype=np.int64)
        price, end = self.price[..., column], self.grammar.end_token
        ends = self.next_state[:, end] == -1
        best[1, ends] = price[ends, end]
        inner = self.next_state >= 0
        for r in range(2, self.max_layers + 1):
            after = best[r - 1][np.maximum(self.next_state, 0)]
            best[r] = np.where(inner, price + after, UNLIMITED).min(axis=1)
        return int(best[self.min_layers : self.max_layers + 1, 0].min() + self.base[column])

    def _least_ram(self) -> int:
        """Least RAM of all networks, from the Pareto-minimal costs where RAM alone matters."""
        only_ram = Budgets(ram_bytes=UNLIMITED - 1)
        table = automaton(self.grammar, self.task, only_ram, self.min_layers, self.max_layers)
        whole = table.options(0, self.min_layers - 1, self.max_layers - 1).least
        return int(ram_of(join_costs(table.base, whole)).min())


@lru_cache(maxsize=32)
def automaton(
    grammar: Grammar, task: Task, budgets: Budgets, min_layers: int, max_layers: int
) -> Automaton:
    """The automaton of these arguments, made once a process."""
    return Automaton(grammar, task, budgets, min_layers, max_layers)
