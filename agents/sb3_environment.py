"""Around the environment of a Stable-Baselines3 algorithm: seeds, ranks, repeats and the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from stable_baselines3.common.callbacks import BaseCallback

from agents.determinism import undisturbed
from agents.unseen import Unseen
from emnas_gym.ledger import Ledger

INSTEAD = "instead"  # in infos: the token that `Unplayed` put in the place of the chosen one


class Undisturbed(gym.Wrapper[Any, Any, Any, Any]):
    """Keeps an evaluator that trains or measures from the global generators, which SB3 uses."""

    def step(self, action: Any) -> Any:  # noqa: ANN401
        """Places a token."""
        with undisturbed():
            return super().step(action)


class Ranked(gym.Wrapper[Any, Any, Any, Any]):
    """Turns the reward of a finished network into the share of the latest ones that it beats.

    Late in a search all rewards are high and nearly equal; their ranks are not (ranked reward,
    Laterre et al. 2018, with one window for all environments).

    Args:
        env: The environment.
        ledger: Has the latest ones.
        window: How many they are.
    """

    def __init__(self, env: gym.Env[Any, Any], ledger: Ledger, window: int) -> None:
        super().__init__(env)
        self.ledger, self.window = ledger, window

    def step(self, action: Any) -> Any:  # noqa: ANN401
        """Places a token."""
        observation, reward, terminated, truncated, info = super().step(action)
        if "measurement" in info:
            latest = np.array([row.reward for row in self.ledger.rows[-self.window - 1 : -1]])
            below = (latest < reward).sum() + 0.5 * (latest == reward).sum()
            reward = float(below / max(len(latest), 1))
        return observation, reward, terminated, truncated, info


class Unplayed(gym.Wrapper[Any, Any, Any, Any]):
    """Lets no network be played twice while others are left.

    Tokens after which every network was played are taken out of the mask; where one is chosen all
    the same, a uniformly drawn one that leads to something new takes its place.

    Args:
        env: The environment.
        unseen: What was played in all environments of the search.
        rng: Source of randomness.
    """

    def __init__(self, env: gym.Env[Any, Any], unseen: Unseen, rng: np.random.Generator) -> None:
        super().__init__(env)
        self.unseen, self.rng = unseen, rng
        self._begun: list[int] = []

    def reset(self, **keywords: Any) -> Any:  # noqa: ANN401
        """Starts an episode."""
        self._begun = []
        return super().reset(**keywords)

    def action_masks(self) -> NDArray[np.int8]:
        """Legal tokens that lead to something new."""
        return self.unseen.open(self._begun, self._mask())

    def _mask(self) -> NDArray[np.int8]:
        mask: NDArray[np.int8] = self.env.get_wrapper_attr("action_masks")()
        return mask

    def step(self, action: Any) -> Any:  # noqa: ANN401
        """Places a token."""
        mask = self._mask()
        left = self.unseen.open(self._begun, mask)
        replaced = bool(mask[action]) and not left[action]
        if replaced:
            action = np.int64(self.rng.choice(np.flatnonzero(left)))
        observation, reward, terminated, truncated, info = super().step(action)
        if replaced:
            info[INSTEAD] = int(action)
        self._begun.append(int(info["token"]))
        if terminated:
            self.unseen.add(self._begun)
        return observation, reward, terminated, truncated, info


class StopWhenSpent(BaseCallback):
    """Ends the learning with the ledger; reports after every rollout.

    Args:
        ledger: Of the search.
        report: Takes numbers for the log.
        before: Called before every rollout, after the update of the last one.
    """

    def __init__(
        self, ledger: Ledger, report: Callable[..., None], before: Callable[[], None]
    ) -> None:
        super().__init__()
        self.ledger, self.report, self.before = ledger, report, before

    def _on_rollout_start(self) -> None:
        self.before()

    def _on_step(self) -> bool:
        return not self.ledger.spent

    def _on_rollout_end(self) -> None:
        share = self.ledger.invalid_steps / max(self.ledger.steps, 1)
        self.report(self.ledger, search__invalid_share=share)
