"""What is tuned: the range of each hyperparameter, agent by agent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from agents.base import OptionError


@dataclass(frozen=True)
class Range:
    """Values of one hyperparameter.

    Attributes:
        low: The least.
        high: The largest.
        log: Whether they are tried on a logarithmic scale.
        whole: Whether they are whole numbers.
    """

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def draw(self, rng: np.random.Generator) -> float:
        """A value, uniform on its scale."""
        low, high = (np.log(self.low), np.log(self.high)) if self.log else (self.low, self.high)
        value = float(rng.uniform(low, high))
        value = min(max(float(np.exp(value)) if self.log else value, self.low), self.high)
        return round(value) if self.whole else value


RATE = Range(0.001, 0.03, log=True)
REINFORCE = {
    "batch": Range(4, 24, log=True, whole=True),
    "learning_rate": RATE,
    "entropy": Range(0.003, 0.3, log=True),
    "baseline_decay": Range(0.0, 0.95),
    "imitation": Range(0.03, 3.0, log=True),
    "elite": Range(1, 32, log=True, whole=True),
    "tries": Range(0, 5, whole=True),
}
ACTOR_CRITIC = {
    "learning_rate": RATE,
    "entropy": Range(0.001, 0.1, log=True),
    "gae_lambda": Range(0.8, 1.0),
    "ranked": Range(0, 200, whole=True),
    "imitation": Range(0, 8, whole=True),
    "elite": Range(1, 16, log=True, whole=True),
}
PPO = ACTOR_CRITIC | {"epochs": Range(2, 15, whole=True), "clip_range": Range(0.1, 0.4)}
RANGES = {
    "reinforce": REINFORCE,
    "factorised-reinforce": REINFORCE,
    "position-reinforce": {
        "learning_rate": Range(0.003, 0.5, log=True),
        "baseline_decay": Range(0.0, 0.98),
        "imitation": Range(0.0, 1.0),
        "tries": Range(0, 10, whole=True),
    },
    "network-policy": {
        "first": Range(4, 20, whole=True),
        "batch": Range(1, 10, whole=True),
        "sharpness": Range(2.0, 20.0, log=True),
        "greed": Range(1.0, 6.0, log=True),
        "decay": Range(0.001, 0.05, log=True),
        "steps": Range(10, 100, log=True, whole=True),
    },
    "q-learning": {
        "learning_rate": Range(0.01, 0.5, log=True),
        "initial": Range(0.0, 1.2),
        "horizon": Range(30, 1000, log=True, whole=True),
        "least": Range(0.02, 0.3, log=True),
        "replays": Range(1, 100, log=True, whole=True),
    },
    "ppo": PPO,
    "maskable-ppo": PPO,
    "a2c": ACTOR_CRITIC,
    "recurrent-ppo": PPO,
    "dqn": {
        "learning_rate": RATE,
        "updates": Range(1, 16, log=True, whole=True),
        "target": Range(20, 500, log=True, whole=True),
        "explore": Range(200, 8000, log=True, whole=True),
        "ranked": Range(0, 200, whole=True),
    },
}


def ranges_of(agent: str) -> dict[str, Range]:
    """The ranges of an agent.

    Raises:
        OptionError: If none are declared.
    """
    if agent not in RANGES:
        known = ", ".join(sorted(RANGES))
        raise OptionError(f"no ranges are declared for agent {agent!r}; there are for: {known}")
    return RANGES[agent]
