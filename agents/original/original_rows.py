"""How the original writes a network, and where it parts from what a problem allows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import EmNASError
from emnas_gym.problem import Problem

PATIENCE = 1000  # invalid sequences in a row after which the original gave up
RUNS = 20  # runs in a row without one valid sequence
Tokens = tuple[int, ...]


class NothingValid(EmNASError, RuntimeError):
    """An agent without masks that finds no network of the problem."""


class OriginalRows:
    """Rows of tokens, the end token put behind them.

    A sequence is read up to its first end token or 0. What is no network of the problem cannot be
    measured here and gets the declared reward of illegal networks.

    Attributes:
        rows: Tokens that the agent chooses.
        classes: Tokens of the space and class 0.
        allowed: (rows, K + 1), classes that a row is drawn from: all but 0; over a table, where a
            token names its position too, those of its position.

    Args:
        problem: What is searched.
        layers: Tokens with the end token; at most those of the problem, and at least as well.
    """

    def __init__(self, problem: Problem, layers: int) -> None:
        self.problem, self.end = problem, problem.space.end_token
        length = min(max(layers, problem.min_layers), problem.max_layers)
        self.rows = length - bool(self.end)
        self.classes = problem.space.num_tokens + 1
        self.allowed = np.ones((self.rows, self.classes), dtype=np.bool_)
        self.allowed[:, 0] = False
        if not self.end:
            depths = _positions(problem)
            self.allowed = np.stack([depths == row for row in range(self.rows)])

    def network(self, drawn: Sequence[int]) -> Tokens | None:
        """The network that rows stand for, the end token included; None if it is none."""
        tokens = []
        for token in drawn:
            if token in (0, self.end):
                break
            tokens.append(int(token))
        tokens += [self.end] if self.end else []
        return tuple(tokens) if self.problem.automaton.fits(tokens) else None

    def draw(
        self, probabilities: NDArray[np.float64], row: int, rng: np.random.Generator, first: int = 0
    ) -> int:
        """Draws a class of a row.

        Args:
            probabilities: Of classes first … K.
            row: Which one.
            rng: Draws.
            first: 1 where the classes are the tokens 1 … K; 0 where class 0 is one of them.
        """
        if not self.end:
            there = self.allowed[row, first : first + len(probabilities)]
            probabilities = np.where(there, probabilities, 0.0)
        return first + choose(probabilities, rng)


def _positions(problem: Problem) -> NDArray[np.int64]:
    """The position of every token of a table, −1 of class 0, shape (K + 1,)."""
    positions = np.full(problem.space.num_tokens + 1, -1)
    for state, depth in enumerate(_depths(problem)):
        positions[problem.automaton.next_state[state] != -2] = depth
    return positions


def _depths(problem: Problem) -> list[int]:
    """The position at which each state of the automaton of a table stands."""
    following = problem.automaton.next_state
    depths, reached = [0] * len(following), {0}
    for depth in range(problem.max_layers):
        for state in reached:
            depths[state] = depth
        reached = {int(t) for state in reached for t in following[state] if t >= 0}
    return depths


def choose(weights: NDArray[np.float64], rng: np.random.Generator) -> int:
    """Draws an index by weights; uniformly where none is above 0."""
    sums = np.cumsum(weights if weights.sum() > 0 else np.ones_like(weights))
    return int(min(np.searchsorted(sums, rng.random() * sums[-1], side="right"), len(sums) - 1))


class Patience:
    """Counts invalid sequences in a row; the original gives up after a thousand.

    A run that gave up is followed by a fresh one, as a person would have started it again.

    Attributes:
        gone: Whether this run is at its end.

    Args:
        name: Of the agent.
    """

    def __init__(self, name: str) -> None:
        self.name, self.barren = name, 0
        self.start()

    def start(self) -> None:
        """A fresh run.

        Raises:
            NothingValid: If several runs in a row found nothing valid.
        """
        if self.barren >= RUNS:
            raise NothingValid(
                f"{self.name} drew no network of this problem in {RUNS} runs of {PATIENCE} "
                "sequences: its original form knows no masks; use faithful=false"
            )
        self.invalid, self.gone = 0, False
        self.barren += 1

    def saw(self, valid: bool) -> None:
        """Takes in a sequence."""
        self.invalid = 0 if valid else self.invalid + 1
        self.barren = 0 if valid else self.barren
        self.gone = self.invalid >= PATIENCE
