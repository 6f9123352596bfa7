"""Tabular Q-learning with a schedule of ε and experience replay."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from agents.base import Agent, Config, NotLearned
from emnas_gym.automaton import Automaton, Cursor
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem

Tokens = tuple[int, ...]
State = tuple[int, ...]
Legal = frozenset[int]
STATES = ("last-token", "automaton", "beginning")
# Networks trained at ε = 1.0, 0.9, …, 0.1 by MetaQNN (Baker et al. 2017, table 2).
METAQNN = (
    (1.0, 1500), (0.9, 100), (0.8, 100), (0.7, 100), (0.6, 150), (0.5, 150), (0.4, 150), (0.3, 150),
    (0.2, 150), (0.1, 150),
)  # fmt: skip


@dataclass(frozen=True)
class QLearningConfig(Config):
    """Hyperparameters of `QLearning`; those of MetaQNN are the defaults, its schedule scaled."""

    learning_rate: float = 0.01
    """α: how far a value moves towards its target."""

    initial: float = 0.5
    """Value of every action before it was tried."""

    horizon: int = 1000
    """Evaluations that MetaQNN's schedule of ε, of 2,700 networks, is stretched over."""

    least: float = 0.1
    """ε after the schedule."""

    replays: int = 100
    """Stored networks that are replayed after each measured one."""

    memory: int = 100000
    """Networks stored at most; the oldest is forgotten."""

    state: str = "last-token"
    """What a state keeps beside its depth: last-token, automaton (shape), beginning (all)."""

    batch: int = 1
    """Networks played with one table, and measured together."""

    def __post_init__(self) -> None:
        """Checks the values."""
        self.require(0 < self.learning_rate <= 1, "learning_rate lies in 0 … 1, 0 excluded")
        self.require(self.horizon >= 1, "horizon is 1 or more")
        self.require(0 <= self.least <= 1, "least is a probability")
        self.require(self.replays >= 0, "replays is 0 or more")
        self.require(min(self.memory, self.batch) >= 1, "memory and batch are 1 or more")
        self.require(self.state in STATES, f"state is one of {', '.join(STATES)}")


@dataclass(frozen=True)
class Episode:
    """A network as it was played.

    Attributes:
        states: State before each token.
        legal: Legal tokens in each of these.
        tokens: The tokens.
        reward: Of the network.
    """

    states: tuple[State, ...]
    legal: tuple[Legal, ...]
    tokens: Tokens
    reward: float = 0.0


class QTable:
    """Values of actions, with a default for those never tried.

    Args:
        initial: That default.
        learning_rate: α.
    """

    def __init__(self, initial: float, learning_rate: float) -> None:
        self.initial, self.learning_rate = initial, learning_rate
        self.values: dict[State, dict[int, float]] = defaultdict(dict)

    def value(self, state: State, token: int) -> float:
        """Q(s, a)."""
        return self.values.get(state, {}).get(token, self.initial)

    def best(self, state: State, legal: Legal) -> float:
        """Max over legal a of Q(s, a); only those that were tried are looked at one by one."""
        tried = self.values.get(state, {})
        known = [value for token, value in tried.items() if token in legal]
        return max(known if len(known) == len(legal) else [*known, self.initial])

    def greedy(self, state: State, legal: Legal) -> list[int]:
        """All legal tokens of the highest value, in ascending order."""
        best = self.best(state, legal)
        return [token for token in sorted(legal) if self.value(state, token) == best]

    def learn(self, episode: Episode) -> None:
        """Updates from the last token to the first: Q ← (1 − α) Q + α target.

        The target of the last token is the reward of the network, that of an earlier one the best
        value of the state after it; the discount is 1 (Baker et al. 2017, equation 3, algorithm 3).
        """
        target = episode.reward
        steps = zip(episode.states, episode.legal, episode.tokens, strict=True)
        for state, legal, token in reversed(list(steps)):
            value = self.value(state, token)
            self.values[state][token] = value + self.learning_rate * (target - value)
            target = self.best(state, legal)


def epsilon(share: float, least: float) -> float:
    """ε once a share of the schedule is over: MetaQNN's numbers of networks as shares.

    Args:
        share: 0 at its start, 1 at its end.
        least: ε afterwards.
    """
    total, done = sum(count for _, count in METAQNN), 0
    for value, count in METAQNN:
        done += count
        if share * total < done:
            return max(value, least)
    return least


class QLearning(Agent):
    """Q-learning over tokens (MetaQNN: Baker et al. 2017).

    With probability ε a token is drawn uniformly from the legal ones, else it is one of highest
    value. Q(s, a) ← (1 − α) Q(s, a) + α (r + max Q(s′, ·)), r = 0 before the end, over the tokens
    of a network backwards; then some stored networks, drawn at random, are replayed. As a state
    MetaQNN keeps depth and last layer; networks that share a state share its values.

    Attributes:
        table_: The values after the last search.
    """

    name: ClassVar[str] = "q-learning"
    summary: ClassVar[str] = "Tabular Q-learning with a schedule of ε and replay, as in MetaQNN."
    config_type = QLearningConfig
    learns: ClassVar[bool] = True
    table_: QTable

    def _search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        config, rng = self.config, self._generator(seed)
        self.table_ = values = QTable(config.initial, config.learning_rate)
        memory: list[Episode] = []
        while not ledger.spent:
            explore = epsilon(ledger.count / config.horizon, config.least)
            played = [self._play(problem.automaton, explore, rng) for _ in range(config.batch)]
            results = ledger.evaluate([problem.space.architecture(e.tokens) for e in played])
            for episode, result in zip(played, results, strict=True):
                reward = ledger.reward(result)
                memory.append(Episode(episode.states, episode.legal, episode.tokens, reward))
                values.learn(memory[-1])
                for i in rng.integers(len(memory), size=config.replays).tolist():
                    values.learn(memory[i])
            del memory[: -config.memory]
            self._report(ledger, q_learning__epsilon=explore, q_learning__states=len(values.values))

    def _play(self, table: Automaton, explore: float, rng: np.random.Generator | None) -> Episode:
        """A network by ε-greedy tokens; without a source of randomness the first of the best."""
        cursor, states, legals = table.start(), list[State](), list[Legal]()
        while not cursor.done:
            state, legal = self._state(cursor), frozenset(table.legal(cursor).tolist())
            if rng is None:
                token = self.table_.greedy(state, legal)[0]
            else:
                uniform = rng.random() < explore
                among = sorted(legal) if uniform else self.table_.greedy(state, legal)
                token = among[int(rng.integers(len(among)))]
            states.append(state)
            legals.append(legal)
            table.step(cursor, token)
        return Episode(tuple(states), tuple(legals), tuple(cursor.tokens))

    def _state(self, cursor: Cursor) -> State:
        if self.config.state == "automaton":
            return len(cursor.tokens), cursor.state
        if self.config.state == "beginning":
            return tuple(cursor.tokens)
        return len(cursor.tokens), cursor.tokens[-1] if cursor.tokens else 0

    def favourite(self, problem: Problem) -> Tokens:
        """The network of the best token at every step.

        Args:
            problem: That of the last search.

        Raises:
            NotLearned: If there was no search yet.
        """
        if not hasattr(self, "table_"):
            raise NotLearned(f"{self.name} has not searched yet: call search first")
        return self._play(problem.automaton, 0.0, None).tokens
