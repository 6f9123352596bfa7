"""Wrappers: the mask beside the observation, and the reward as a vector."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium import spaces

from emnas_gym.env import EmNASEnv
from emnas_gym.problem import latency_scale


def _emnas(env: gym.Env[Any, Any]) -> EmNASEnv:
    inner = env.unwrapped
    if not isinstance(inner, EmNASEnv):
        raise TypeError(f"this wrapper is for EmNAS environments, not {type(inner).__name__}")
    return inner


class DictObservation(gym.Wrapper[Any, Any, Any, Any]):
    """Observations ``{"observation": ..., "action_mask": ...}``.

    Args:
        env: An EmNAS environment.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._inner = _emnas(env)
        size = self._inner.action_masks().size
        self.observation_space = spaces.Dict(
            {"observation": env.observation_space, "action_mask": spaces.MultiBinary(size)}
        )

    def action_masks(self) -> Any:  # noqa: ANN401
        """Legal actions as ones, shape (K + 1,); of plays (rows · (K + 1),)."""
        return self._inner.action_masks()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Starts an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        return self._with_mask(observation), info

    def step(self, action: Any) -> Any:  # noqa: ANN401
        """Places a token."""
        observation, *rest = self.env.step(action)
        return self._with_mask(observation), *rest

    def _with_mask(self, observation: Any) -> dict[str, Any]:  # noqa: ANN401
        return {"observation": observation, "action_mask": self.action_masks()}


class VectorReward(gym.Wrapper[Any, Any, Any, Any]):
    """Rewards as vectors in MO-Gymnasium's form; the scalar stands in ``info["reward"]``.

    The entries are the reward's objectives, larger being better; zero before the end of an
    episode. One that ends with an illegal network gives no accuracy and the latency that counts
    as worst for the task and device, so that nonsense never undercuts a network.

    Args:
        env: An EmNAS environment.
    """

    def __init__(self, env: gym.Env[Any, Any]) -> None:
        super().__init__(env)
        self._inner = _emnas(env)
        self.reward_space = self._inner.reward_space
        problem = self._inner.problem
        worst = {"latency_ms": latency_scale(problem.task, problem.device).cap_ms}
        vector = [0.0 - worst.get(field, 0.0) for field in problem.reward.objectives]
        self._illegal = np.array(vector, dtype=np.float32)

    def step(self, action: Any) -> Any:  # noqa: ANN401
        """Places a token."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        illegal = terminated or info.get("feasible") is False
        nothing = self._illegal if illegal else np.zeros_like(self._illegal)
        vector = info.get("reward_vector", nothing).copy()
        return observation, vector, terminated, truncated, info | {"reward": reward}
