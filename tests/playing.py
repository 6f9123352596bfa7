"""Environments for tests, and episodes played in them."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from conftest import BUDGETS, TINY, ByTokens

from emnas_gym.env import EmNASEnv


def make_env(**keywords: Any) -> EmNASEnv:
    return EmNASEnv(**{"budgets": BUDGETS, "evaluator": ByTokens()} | keywords)


def make_tiny_env(**keywords: Any) -> EmNASEnv:
    return EmNASEnv(**{"space": TINY, "budgets": BUDGETS, "evaluator": ByTokens()} | keywords)


def play(
    env: gym.Env[Any, Any], rng: np.random.Generator, seed: int | None = None
) -> list[tuple[Any, ...]]:
    """An episode that obeys the mask; everything that was seen."""
    observation, info = env.reset(seed=seed)
    seen: list[tuple[Any, ...]] = [(observation, info)]
    while True:
        seen.append(env.step(_choose(env, info["action_mask"], rng)))
        _, _, terminated, truncated, info = seen[-1]
        if terminated or truncated:
            return seen


def _choose(env: gym.Env[Any, Any], mask: Any, rng: np.random.Generator) -> Any:
    """An allowed token, or one for every position of a play."""
    if isinstance(env.action_space, gym.spaces.MultiDiscrete):
        rows = mask.reshape(len(env.action_space.nvec), -1)
        return np.array([rng.choice(np.flatnonzero(row)) for row in rows])
    return rng.choice(np.flatnonzero(mask))


def equal(a: Any, b: Any) -> bool:
    """Whether two nests of arrays, dicts and sequences are equal, types of arrays included."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, (tuple, list)):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return bool(a == b)
