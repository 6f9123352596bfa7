"""Worlds with a known answer: small enough for brute force, cheap enough for every test."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np

from emnas_gym.architecture import Architecture
from emnas_gym.automaton import Automaton, Cursor
from emnas_gym.evaluator import Evaluator, Result
from emnas_gym.layers import LayerSpec
from emnas_gym.ledger import Ledger
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.space import SearchSpace, load_space
from emnas_gym.testing import ScriptedEvaluator

DOZEN = """
name = "dozen"
description = "Fifteen networks of two or three layers."
min_layers = 2
max_layers = 3

[rules]
first = ["conv", "depthwise"]

[rules.after]
dense = ["dense"]

[[tokens]]
kind = "conv"
filters = [4, 8]
kernel = 3
stride = 2
padding = "same"
activation = "relu"

[[tokens]]
kind = "depthwise"
kernel = 3
stride = 2
padding = "same"
activation = "relu"

[[tokens]]
kind = "dense"
units = 8
activation = "relu"

[[tokens]]
kind = "output"
head = "dense"
"""
ARMS = 10


def dozen(folder: Path) -> Problem:
    """The world of `DOZEN`, read from a file in a folder."""
    path = folder / "dozen.toml"
    path.write_text(DOZEN, encoding="utf-8")
    return Problem.make(load_space(path))


def bandit() -> Problem:
    """Ten networks of one layer and the output: a bandit with ten arms."""
    arms = [
        LayerSpec(
            "conv", filters=4 * (i + 1), kernel=1, stride=1, padding="valid", activation="relu"
        )
        for i in range(ARMS)
    ]
    output = LayerSpec("output", head="dense")
    return Problem.make(SearchSpace("bandit", (*arms, output), 2, 2, first=("conv",)))


def brute_force(problem: Problem) -> tuple[tuple[int, ...], float]:
    """Tokens and reward of the best network, by measuring all."""
    scripted = ScriptedEvaluator(problem)
    networks = list(problem.space.enumerate(problem.task, problem.automaton.budgets))
    rewards = []
    for result in scripted.evaluate(networks):
        assert isinstance(result, Measurement)
        rewards.append(problem.reward(result)[0])
    best = int(np.argmax(rewards))
    return networks[best].canonical, rewards[best]


def in_memory(problem: Problem, evaluations: int) -> Ledger:
    """A ledger on the scripted accuracies of a world that can be enumerated."""
    return Ledger(ScriptedEvaluator(problem), problem, evaluations)


def probabilities(table: Automaton, length: int | None = None) -> dict[tuple[int, ...], float]:
    """Exact probability of every network under uniform legal tokens, by following all of them."""
    found: dict[tuple[int, ...], float] = {}

    def follow(cursor: Cursor, tokens: tuple[int, ...], chance: float) -> None:
        if cursor.done:
            found[tokens] = chance
            return
        legal = table.legal(cursor, length)
        for token in legal:
            ahead = table.start()
            for placed in (*tokens, int(token)):
                table.step(ahead, placed)
            follow(ahead, (*tokens, int(token)), chance / len(legal))

    follow(table.start(), (), 1.0)
    return found


class Formula(Evaluator):
    """Scores any network by a formula: short and early dense layers are good; cheap and smooth."""

    provides = frozenset({"accuracy", "latency_ms"})
    seconds = 0.0

    @classmethod
    def for_problem(cls, problem: Problem) -> Self:
        """Fits every problem."""
        return cls()

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        time.sleep(self.seconds * len(batch))
        return [self._measure(architecture) for architecture in batch]

    def _measure(self, architecture: Architecture) -> Measurement:
        layers = architecture.layers[:-1]
        good = sum(layer.activation == "relu" and layer.kernel == 3 for layer in layers)
        accuracy = 0.2 + 0.7 * good / len(layers) - 0.01 * len(layers)
        return Measurement.of("predicted", accuracy=accuracy, latency_ms=1.0)


def formula(problem: Problem, evaluations: int) -> Ledger:
    """A ledger on the formula, for spaces of any size."""
    return Ledger(Formula(), problem, evaluations)


class SlowFormula(Formula):
    """The same, with time enough to be interrupted."""

    seconds = 0.02


class HeldFormula(Formula):
    """The same, but stands still after 30 networks for as long as the file ``TEST_HOLD`` is there.

    So that another process can interrupt it at a known place, however slow the machine.
    """

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        held = Path(os.environ.get("TEST_HOLD", "no such file"))
        while self.count >= 30 and held.exists():
            time.sleep(0.01)
        self.count += len(batch)
        return super()._evaluate(batch)
