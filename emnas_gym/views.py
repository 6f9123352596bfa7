"""What an agent sees of a walk, and the spaces in which that lies; for one and for many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from emnas_gym import encodings
from emnas_gym.errors import UnknownName
from emnas_gym.problem import Problem

OBSERVATIONS = ("tokens", "ids", "onehot", "layers")
ON_INVALID = ("resample", "end", "penalise")
PENALTY = 0.05  # share of the reward's range that `penalise` takes for an illegal token
PATIENCE = 4  # `penalise` truncates after so many times the largest number of layers

Observation = NDArray[Any]


def known(kind: str, name: str, names: Sequence[str]) -> str:
    """A name that is one of the known ones.

    Raises:
        UnknownName: If it is none of them.
    """
    if name not in names:
        raise UnknownName(kind, name, names)
    return name


class View:
    """How tokens are observed.

    Attributes:
        action_space: ``Discrete(K + 1)``.
        observation_space: Of one environment.
        reward_space: Of the vector of objectives.

    Args:
        problem: What is searched.
        observation: One of `OBSERVATIONS`.

    Raises:
        UnknownName: If there is no such observation.
    """

    def __init__(self, problem: Problem, observation: str) -> None:
        self.kind = known("observation", observation, OBSERVATIONS)
        self.size, length = problem.space.num_tokens + 1, problem.max_layers
        self.action_space = spaces.Discrete(self.size)
        details = encodings.detail_table(problem.space)
        largest = details.max(axis=0)
        self._details = details / np.where(largest > 0, largest, 1)
        self.observation_space: spaces.Space[Any]
        if observation == "tokens":
            self.observation_space = spaces.MultiDiscrete([self.size] * length)
        elif observation == "ids":
            self.observation_space = spaces.Box(0, self.size - 1, (length,), np.int64)
        else:
            width = self.size if observation == "onehot" else details.shape[1]
            self.observation_space = spaces.Box(0.0, 1.0, (length * width,), np.float32)
        objectives = len(problem.reward.objectives)
        self.reward_space = spaces.Box(-np.inf, np.inf, (objectives,), np.float32)

    def of(self, tokens: NDArray[np.int64]) -> Observation:
        """The observation of tokens that are filled up with 0; a fresh array.

        Args:
            tokens: (L,) of one environment, or (N, L).
        """
        if self.kind in ("tokens", "ids"):
            return tokens.copy()
        if self.kind == "layers":
            rows: Observation = self._details[tokens].reshape(*tokens.shape[:-1], -1)
            return rows
        hot = np.zeros((tokens.size, self.size), dtype=np.float32)
        hot[np.arange(tokens.size), tokens.ravel()] = 1.0
        return hot.reshape(*tokens.shape[:-1], -1)
