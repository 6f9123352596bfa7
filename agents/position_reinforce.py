"""REINFORCE with one distribution a position: the form that tables are searched with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from agents.base import Agent, Config, NotLearned
from agents.lengths import end_probability, logit
from emnas_gym.automaton import Automaton
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem

Floats = NDArray[np.float64]
Legal = NDArray[np.int64]  # ids of the tokens that were legal at a position
Tokens = tuple[int, ...]
DECAYS, EPSILON = (0.9, 0.999), 1e-8  # of Adam


@dataclass(frozen=True)
class PositionReinforceConfig(Config):
    """Hyperparameters of `PositionReinforce`; those of the known figures are the defaults."""

    batch: int = 1
    """Networks of an update, measured together."""

    learning_rate: float = 0.01
    """Step size of Adam."""

    baseline_decay: float = 0.9
    """Share of the earlier baseline that stays."""

    imitation: float = 0.0
    """Weight of the gradient of log π(best network so far); 0 is the known form."""

    tries: int = 0
    """How often what was measured before is drawn again; 0 measures every repeat."""

    def __post_init__(self) -> None:
        """Checks the values."""
        self.require(self.batch >= 1, "batch is 1 or more")
        self.require(self.learning_rate > 0, "learning_rate is above 0")
        self.require(0 <= self.baseline_decay < 1, "baseline_decay lies in 0 … 1, 1 excluded")
        self.require(self.imitation >= 0, "imitation is 0 or more")
        self.require(self.tries >= 0, "tries is 0 or more")


class PositionPolicy:
    """π(tokens) = Π softmax(logits[position])[token], each over the tokens that are legal there.

    Where lengths vary, a fixed offset of the end token makes them about uniform at the start.

    Attributes:
        logits: (T, K + 1), all 0 at the start.

    Args:
        table: What is legal.
    """

    def __init__(self, table: Automaton) -> None:
        self.table = table
        self.logits = np.zeros((table.max_layers, table.grammar.num_tokens + 1))
        self._end_offset = logit(end_probability(table))

    def probabilities(self, position: int, legal: Legal) -> Floats:
        """Probabilities of the legal tokens at a position, shape of ``legal``."""
        scores: Floats = self.logits[position, legal].copy()
        end = self.table.grammar.end_token
        if end:
            others = max(len(legal) - int(end in legal), 1)
            scores[legal == end] += self._end_offset[position] + np.log(others)
        weights: Floats = np.exp(scores - scores.max())
        chances: Floats = weights / weights.sum()
        return chances

    def walk(self, rng: np.random.Generator | None) -> tuple[Tokens, list[Legal]]:
        """Draws a network, or takes the likeliest tokens without a source of randomness.

        Returns:
            Its tokens, and what was legal at each position.
        """
        cursor, choices = self.table.start(), list[Legal]()
        while not cursor.done:
            legal = self.table.legal(cursor)
            chances = self.probabilities(len(choices), legal)
            at = chances.argmax() if rng is None else _draw(chances, rng)
            self.table.step(cursor, int(legal[at]))
            choices.append(legal)
        return tuple(cursor.tokens), choices

    def gradient(self, tokens: Tokens, choices: list[Legal]) -> Floats:
        """∇ log π(tokens) by the logits: onehot(token) − π at each position, shape (T, K + 1)."""
        gradient = np.zeros_like(self.logits)
        for position, (token, legal) in enumerate(zip(tokens, choices, strict=True)):
            gradient[position, legal] -= self.probabilities(position, legal)
            gradient[position, token] += 1.0
        return gradient


def _draw(chances: Floats, rng: np.random.Generator) -> int:
    """Index by inversion; a rounding error at the end takes the last one."""
    return min(int(np.searchsorted(chances.cumsum(), rng.random())), len(chances) - 1)


class Adam:
    """Gradient ascent with Adam (Kingma and Ba 2015, algorithm 1).

    Args:
        shape: Shape of the parameters.
        learning_rate: Step size.
    """

    def __init__(self, shape: tuple[int, ...], learning_rate: float) -> None:
        self.learning_rate, self.steps = learning_rate, 0
        self.mean, self.square = np.zeros(shape), np.zeros(shape)

    def ascent(self, gradient: Floats) -> Floats:
        """What is added to the parameters."""
        (first, second), self.steps = DECAYS, self.steps + 1
        self.mean += (1.0 - first) * (gradient - self.mean)
        self.square += (1.0 - second) * (gradient**2 - self.square)
        mean = self.mean / (1.0 - first**self.steps)
        square = self.square / (1.0 - second**self.steps)
        step: Floats = self.learning_rate * mean / (np.sqrt(square) + EPSILON)
        return step


class MovingAverage:
    """b_t = Σ d^(t−i) r_i / Σ d^(t−i): a moving average that does not start at 0.

    Args:
        decay: d.
    """

    def __init__(self, decay: float) -> None:
        self.decay, self._sum, self._weight = decay, 0.0, 0.0

    def update(self, value: float) -> float:
        """Takes in a value; the average, this value included."""
        self._sum = self.decay * self._sum + value
        self._weight = self.decay * self._weight + 1.0
        return self._sum / self._weight


class PositionReinforce(Agent):
    """REINFORCE (Williams 1992) with independent positions, as benchmarks of tables know it.

    θ ← θ + Adam((r − b) ∇ log π(tokens)), b the moving average of the rewards, r included (Dong
    and Yang 2020, NAS-Bench-201: Adam 0.01, decay 0.9, one network an update). Options go beyond
    the known form: imitation of the best network so far, and drawing known networks again.

    Attributes:
        policy_: The policy of the last search.
    """

    name: ClassVar[str] = "position-reinforce"
    summary: ClassVar[str] = "REINFORCE with one distribution a position, as tables know it."
    config_type = PositionReinforceConfig
    learns: ClassVar[bool] = True
    policy_: PositionPolicy

    def _search(self, problem: Problem, ledger: Ledger, seed: int) -> None:
        config, rng = self.config, self._generator(seed)
        self.policy_ = policy = PositionPolicy(problem.automaton)
        adam = Adam(policy.logits.shape, config.learning_rate)
        baseline, seen = MovingAverage(config.baseline_decay), set[Tokens]()
        best: tuple[float, tuple[Tokens, list[Legal]]] | None = None
        while not ledger.spent:
            drawn = [self._network(problem, rng, seen) for _ in range(config.batch)]
            results = ledger.evaluate([problem.space.architecture(t) for t, _ in drawn])
            rewards = [ledger.reward(result) for result in results]
            gradient = np.zeros_like(policy.logits)
            for reward, walk in zip(rewards, drawn, strict=True):
                advantage = reward - baseline.update(reward)
                gradient += advantage * policy.gradient(*walk) / config.batch
                best = (reward, walk) if best is None or reward > best[0] else best
            if config.imitation and best is not None:
                gradient += config.imitation * policy.gradient(*best[1])
            policy.logits += adam.ascent(gradient)
            self._report(ledger, reinforce__mean_reward=float(np.mean(rewards)))

    def _network(
        self, problem: Problem, rng: np.random.Generator, seen: set[Tokens]
    ) -> tuple[Tokens, list[Legal]]:
        """A network, drawn again up to `tries` times if it was measured before."""
        for _ in range(self.config.tries + 1):
            tokens, choices = self.policy_.walk(rng)
            key = problem.space.canonical_tokens(tokens) if self.config.tries else tokens
            if key not in seen:
                break
        if self.config.tries:
            seen.add(key)
        return tokens, choices

    def favourite(self, problem: Problem) -> Tokens:
        """The network of the likeliest token at every position.

        Args:
            problem: That of the last search.

        Raises:
            NotLearned: If there was no search yet.
        """
        if not hasattr(self, "policy_"):
            raise NotLearned(f"{self.name} has not searched yet: call search first")
        return self.policy_.walk(None)[0]
