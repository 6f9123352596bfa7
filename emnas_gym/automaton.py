"""Masks from tables: which token is legal next, so that a network that fits can still be finished.

A space for one task is an automaton: a token moves it from state to state and costs flash, MACs and
RAM (`cost_vectors`). For every state and number of tokens left the table holds the Pareto-minimal
costs of all completions that build. A token is legal exactly if one of them fits into what the
budgets leave: no dead end, none refused that could have fitted. What the states are, a subclass
says: `layer_automaton` for chains of layers, `table_automaton` for the rows of a table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from emnas_gym.budgets import Budgets
from emnas_gym.cost_vectors import (
    COLUMNS,
    FLASH,
    HEAD,
    KEPT,
    MACS,
    NEVER,
    PLANNING,
    UNLIMITED,
    Costs,
    Limits,
    join_costs,
    no_costs,
    padded,
    pareto_minimal,
    ram_of,
)
from emnas_gym.errors import IllegalAction, InfeasibleBudgets, InvalidArchitecture
from emnas_gym.graph import Shape
from emnas_gym.tasks import Task
from emnas_gym.token_space import TokenSpace

State = tuple[Shape, frozenset[str] | None]  # shape reached, () without one; the rules that hold
Move = tuple[int, int, int, int, int, int]  # the next state, and what getting there costs


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


class Automaton(ABC):
    """The automaton of a space for one task, one set of budgets and one range of lengths.

    Attributes:
        grammar: The space.
        base: What every network costs before its first token, shape (5,).
        states: What each state stands for.
        next_state: State after each token, −1 at the end, −2 if illegal, shape (states, K + 1).
        price: Cost of each token in each state, shape (states, K + 1, 5).

    Args:
        grammar: Tokens and rules.
        task: Input shape and classes.
        budgets: Limits; those on flash, RAM and MACs are guaranteed.
        min_layers: Least number of tokens, the end token included.
        max_layers: Largest number of tokens, the end token included.

    Raises:
        InfeasibleBudgets: If no network fits.
    """

    base: Costs
    states: list[State]
    next_state: NDArray[np.int64]
    price: Costs

    def __init__(
        self, grammar: TokenSpace, task: Task, budgets: Budgets, min_layers: int, max_layers: int
    ) -> None:
        if not grammar.min_layers <= min_layers <= max_layers <= grammar.max_layers:
            asked, known = (min_layers, max_layers), (grammar.min_layers, grammar.max_layers)
            raise InfeasibleBudgets(f"lengths {asked} lie outside those of {grammar.name}, {known}")
        self.grammar, self.task, self.budgets = grammar, task, budgets
        self.min_layers, self.max_layers = min_layers, max_layers
        self.limits = Limits.of(budgets)
        self._explore()
        self._exact: list[list[Costs]] = self._completions()
        self._options: dict[tuple[int, int, int], Options] = {}
        self._completion_of: dict[tuple[int, int, int], Costs] = {}
        self._width = len(self.next_state[0])
        self._known_moves: dict[int, Move] = {}
        if not self.feasible_lengths:
            raise InfeasibleBudgets(self._why_infeasible())

    # ------------------------------------------------------------------------------ building

    @abstractmethod
    def _explore(self) -> None:
        """Sets `base`, `states`, `next_state` and `price`; state 0 is the start."""

    @abstractmethod
    def _why_infeasible(self) -> str:
        """The message of `InfeasibleBudgets`."""

    def _completions(self) -> list[list[Costs]]:
        """For r = 0, 1, … tokens left: the Pareto-minimal costs of finishing from each state."""
        nothing = no_costs()
        count = len(self.states)
        ends = [self.price[s, self.next_state[s] == -1] for s in range(count)]
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

    # ------------------------------------------------------------------------------- walking

    @property
    def width(self) -> int:
        """Tokens of a row of the tables, token 0 included."""
        return self._width

    @cached_property
    def moves(self) -> NDArray[np.int32] | NDArray[np.int64]:
        """What each token does in each state, in one row: (states · (K + 1), 6).

        The costs, and last the next state; in 32 bits where these hold them, since many walks at
        once look into rows that no cache holds yet.
        """
        largest = int(self.price.max(initial=0))
        small = largest <= np.iinfo(np.int32).max
        moves = np.empty((self.next_state.size, COLUMNS + 1), dtype=np.int32 if small else np.int64)
        moves[:, :COLUMNS] = self.price.reshape(-1, COLUMNS)
        moves[:, COLUMNS] = self.next_state.ravel()
        return moves

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
        ends = np.flatnonzero(row == -1)
        if low <= 0 <= high and len(ends):
            tokens = np.concatenate([tokens, ends])
            last = np.full((len(ends), max(rest.shape[1], 1), COLUMNS), NEVER, dtype=np.int64)
            last[:, 0] = 0
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
        state, (flash, macs, kept, head, planning) = 0, self.base.tolist()
        for token in tokens:
            if state < 0 or not 0 <= token < self._width:
                return False
            state, *price = self.move(state * self._width + token)
            flash, macs, kept = flash + price[FLASH], macs + price[MACS], kept + price[KEPT]
            head, planning = max(head, price[HEAD]), planning + price[PLANNING]
        limits, ram = self.limits, max(kept + head, planning)
        small = flash <= limits.flash and macs <= limits.macs and ram <= limits.ram
        return state == -1 and bool(small)

    def move(self, place: int) -> Move:
        """Where a token leads (−1 at the end, −2 if it is illegal) and what it costs.

        Args:
            place: Where the tables hold it, flat: state · width + token.
        """
        found = self._known_moves.get(place)
        if found is None:
            at = divmod(place, self._width)
            flash, macs, kept, head, planning = self.price[at].tolist()
            found = (int(self.next_state[at]), flash, macs, kept, head, planning)
            self._known_moves[place] = found
        return found

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
        price = self.price[..., column]
        best[1] = np.where(self.next_state == -1, price, UNLIMITED).min(axis=1)
        inner = self.next_state >= 0
        for r in range(2, self.max_layers + 1):
            after = best[r - 1][np.maximum(self.next_state, 0)]
            best[r] = np.where(inner, price + after, UNLIMITED).min(axis=1)
        return int(best[self.min_layers : self.max_layers + 1, 0].min() + self.base[column])

    def _least_ram(self) -> int:
        """Least RAM of all networks, from the Pareto-minimal costs where RAM alone matters."""
        only_ram = Budgets(ram_bytes=UNLIMITED - 1)
        table = self.grammar.automaton(self.task, only_ram, self.min_layers, self.max_layers)
        whole = table.options(0, self.min_layers - 1, self.max_layers - 1).least
        return int(ram_of(join_costs(table.base, whole)).min())
