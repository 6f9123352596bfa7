"""When an episode of plays ends, from which sequence it starts, and which reward a play is fed.

The rules are those of the agents of EMNAS (2021), each of which can be left out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emnas_gym.errors import EmNASError
from emnas_gym.views import known

INITIAL = ("zeros", "random", "best_of_episode", "best")
NEXT_REWARDS = ("own", "best", "best_by_episode", "best_of_episode")
FIRST_STAND_IN = 0.7  # before anything is known
MARGINS = {"best": 0.01, "best_by_episode": 0.01, "best_of_episode": 0.005}
Sequence = NDArray[np.int64]


@dataclass(frozen=True)
class PlayRules:
    """The rules of one environment.

    Attributes:
        reward_min: An episode ends with a reward below it; None leaves the rule out.
        dynamic_min: Whether that threshold rises to the best mean reward of an episode so far.
        variance_min: An episode ends once its rewards vary less (population variance); None leaves
            the rule out.
        min_plays: Plays before these two rules hold.
        max_plays: Plays after which an episode is truncated.
        max_invalid: Invalid plays after which an episode is truncated.
        initial: What an episode starts from, one of `INITIAL`: zeros, random tokens, the best
            sequence of the episode before, the best one so far.
        next_reward: What a play is fed, one of `NEXT_REWARDS`: its own reward; or a stand-in, which
            is 0.7 at first, then the best reward so far + 0.01 (taken after each play, or after
            each episode), or the best reward of the episode before + 0.005.

    Raises:
        EmNASError: If a number makes no sense.
        UnknownName: If there is no such initial sequence or reward.
    """

    reward_min: float | None = None
    dynamic_min: bool = False
    variance_min: float | None = None
    min_plays: int = 5
    max_plays: int = 20
    max_invalid: int = 1000
    initial: str = "zeros"
    next_reward: str = "own"

    def __post_init__(self) -> None:
        """Checks the values."""
        known("initial", self.initial, INITIAL)
        known("next_reward", self.next_reward, NEXT_REWARDS)
        for name in ("min_plays", "max_plays", "max_invalid"):
            value = getattr(self, name)
            if not _whole(value) or value < 1:
                raise EmNASError(f"{name} is a whole number from 1, not {value!r}")
        if self.min_plays > self.max_plays:
            plays = f"{self.min_plays} and {self.max_plays}"
            raise EmNASError(f"min_plays is at most max_plays, not {plays}")
        for name in ("reward_min", "variance_min"):
            value = getattr(self, name)
            if value is not None and not _finite(value):
                raise EmNASError(f"{name} is a number or None, not {value!r}")


def _whole(value: Any) -> bool:  # noqa: ANN401
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _finite(value: Any) -> bool:  # noqa: ANN401
    number = isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
    return number and math.isfinite(value)


class PlayRun:
    """What the rules remember over the episodes of one run.

    Attributes:
        threshold: Reward below which an episode ends; −inf without that rule.
        rewards: Own rewards of the episode, those of invalid plays included.
        plays: Valid plays of the episode.
        invalid: Invalid plays of the episode.

    Args:
        rules: The rules.
    """

    def __init__(self, rules: PlayRules) -> None:
        self.rules = rules
        self.threshold = -math.inf if rules.reward_min is None else float(rules.reward_min)
        self._stand_in = FIRST_STAND_IN
        self._best: tuple[float, Sequence] | None = None
        self._of_episode: tuple[float, Sequence] | None = None
        self._before: tuple[float, Sequence] | None = None  # of the episode before
        self._open = False
        self._clear()

    def _clear(self) -> None:
        self.rewards: list[float] = []
        self.plays = self.invalid = 0

    def start(self, length: int, rows: int, tokens: int, rng: np.random.Generator) -> Sequence:
        """Closes the episode before and starts one; returns the sequence that it starts from.

        Args:
            length: Entries of a sequence.
            rows: How many of them a play fills.
            tokens: Number of tokens.
            rng: Draws random sequences: each row uniform among all tokens, legal or not. It also
                stands in where there is no best sequence yet.
        """
        self._close()
        self._clear()
        self._open = True
        found = {"best": self._best, "best_of_episode": self._before}.get(self.rules.initial)
        if found is not None:
            return found[1].copy()
        start = np.zeros(length, dtype=np.int64)
        if self.rules.initial != "zeros":
            start[:rows] = rng.integers(1, tokens + 1, size=rows)
        return start

    def _close(self) -> None:
        """What an episode that is over leaves for the next ones, also one that was broken off."""
        if not self._open:
            return
        self._before, self._of_episode, self._open = self._of_episode, None, False
        if self.rules.dynamic_min and self.rewards:
            self.threshold = max(self.threshold, float(np.mean(self.rewards)))
        if self.rules.next_reward == "best_by_episode" and self._best is not None:
            self._stand_in = self._best[0] + MARGINS["best_by_episode"]
        if self.rules.next_reward == "best_of_episode" and self._before is not None:
            self._stand_in = self._before[0] + MARGINS["best_of_episode"]

    def add(self, tokens: Sequence, reward: float, valid: bool) -> float:
        """Takes in a play; returns the reward that it is fed.

        Args:
            tokens: The sequence that was played.
            reward: Its own reward.
            valid: Whether it is a network of the problem; only such a play counts as one.
        """
        self.rewards.append(reward)
        self.plays, self.invalid = self.plays + valid, self.invalid + (not valid)
        fed = reward if self.rules.next_reward == "own" else self._stand_in
        if valid:
            play = (reward, tokens.copy())
            self._best = _better(self._best, play)
            self._of_episode = _better(self._of_episode, play)
        if self.rules.next_reward == "best" and self._best is not None:
            self._stand_in = self._best[0] + MARGINS["best"]
        return fed

    @property
    def terminated(self) -> bool:
        """Whether the last reward is too low, or the rewards of the episode vary too little."""
        if self.plays < self.rules.min_plays or not self.rewards:
            return False
        if self.rewards[-1] < self.threshold:
            return True
        least = self.rules.variance_min
        return least is not None and float(np.var(self.rewards)) < least

    @property
    def truncated(self) -> bool:
        """Whether the most plays, or the most invalid ones, are reached."""
        return self.plays >= self.rules.max_plays or self.gave_up

    @property
    def gave_up(self) -> bool:
        """Whether the most invalid plays are reached."""
        return self.invalid >= self.rules.max_invalid


def _better(
    best: tuple[float, Sequence] | None, play: tuple[float, Sequence]
) -> tuple[float, Sequence]:
    """The play of higher reward; the first of equals."""
    return play if best is None or play[0] > best[0] else best
