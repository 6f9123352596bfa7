"""The environment whose action is a whole sequence, and whose episode is a chain of such plays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from emnas_gym.budgets import Budgets
from emnas_gym.devices import Device
from emnas_gym.env import EmNASEnv, Info
from emnas_gym.errors import IllegalAction
from emnas_gym.play_rules import PlayRules, PlayRun
from emnas_gym.position_masks import position_masks
from emnas_gym.registry import Spec
from emnas_gym.rewards import Reward
from emnas_gym.tasks import Task
from emnas_gym.token_space import TokenSpace
from emnas_gym.views import Observation


class EmNASPlayEnv(EmNASEnv):
    """Embedded neural architecture search, one whole network a step: a "play" (EMNAS, 2021).

    ## Description
    The agent sees the sequence before and writes all layers of a new one at once. Every play is
    measured and rewarded. Rules that can be chosen end an episode and say what the next one starts
    from.

    ## Actions
    ``MultiDiscrete([K + 1] * rows)``: a token for every position; rows = max_layers − 1, since the
    end token is appended where a play does not end before (max_layers over a table, which has no
    end token). A play is read up to its end token or its first 0, which stands for the end; what
    follows is not read. `action_masks` and ``info["action_mask"]`` hold for each position by
    itself (see `emnas_gym.position_masks`): a play that obeys them can still be illegal.

    ## Observations
    The sequence before, as in `EmNASEnv`: ``tokens``, ``ids``, ``onehot``, ``layers``.

    ## Rewards
    The reward of the play's measurement, or a stand-in (`next_reward`). What `on_invalid` does
    with a play that is no network of the problem: ``resample`` repairs it, from the first token to
    the last each illegal one is replaced by a uniformly drawn legal one; ``penalise`` gives the
    declared reward of illegal networks and goes on from the sequence as it was drawn, and it
    counts as no play; ``end`` gives the same and ends the episode.

    ## Start and end
    Starts from the sequence that `initial` names. Terminates by `reward_min` and `variance_min`
    (and at an illegal play under ``end``); truncates after `max_plays` plays, after `max_invalid`
    illegal ones, and when the ledger that it stands on is spent. A reset with a seed starts a new
    run: the best sequences, the threshold and the stand-in are forgotten.

    ## Information
    ``action_mask`` always; after each play ``invalid``, ``own_reward``, ``plays``, ``feasible``,
    and, where there is a network, ``architecture`` (tokens, filled up with 0), ``measurement``,
    ``reward_terms``, ``reward_vector``; ``gave_up`` at the end of an episode with too many illegal
    plays.

    Args:
        space: As in `EmNASEnv`, and so the following.
        task: What the networks are for.
        device: Where they run.
        budgets: Limits by name.
        evaluator: What measures.
        reward: Name, mapping with ``name`` and constants, or object.
        observation: One of ``tokens``, ``ids``, ``onehot``, ``layers``.
        min_layers: Least number of tokens, the end token included.
        max_layers: Largest number of tokens, the end token included.
        on_invalid: One of ``resample``, ``end``, ``penalise``.
        autoreset_mode: Accepted as in `EmNASEnv`.
        render_mode: ``ansi``, ``rgb_array`` or ``human``: the last play.
        reward_min: As in `emnas_gym.play_rules.PlayRules`, and so the following.
        dynamic_min: Whether the threshold rises with the best mean so far.
        variance_min: Least variance of the rewards of an episode.
        min_plays: Plays before these rules hold.
        max_plays: Most plays of an episode.
        max_invalid: Most illegal plays of an episode.
        initial: ``zeros``, ``random``, ``best_of_episode`` or ``best``.
        next_reward: ``own``, ``best``, ``best_by_episode`` or ``best_of_episode``.

    ## Versions
    v0: first.
    """

    action_space: spaces.MultiDiscrete  # type: ignore[assignment]

    def __init__(
        self,
        space: str | Path | TokenSpace = "emnas-382",
        task: str | Task = "digits",
        device: str | Device = "stm32f446re",
        budgets: Budgets | Mapping[str, Any] | None = None,
        evaluator: Spec = "surrogate",
        reward: str | Mapping[str, Any] | Reward = "weighted_product",
        observation: str = "tokens",
        min_layers: int | None = None,
        max_layers: int | None = None,
        on_invalid: str = "resample",
        autoreset_mode: str | None = None,
        render_mode: str | None = None,
        reward_min: float | None = None,
        dynamic_min: bool = False,
        variance_min: float | None = None,
        min_plays: int = 5,
        max_plays: int = 20,
        max_invalid: int = 1000,
        initial: str = "zeros",
        next_reward: str = "own",
    ) -> None:
        self.rules = PlayRules(
            reward_min, dynamic_min, variance_min, min_plays, max_plays, max_invalid, initial,
            next_reward,
        )  # fmt: skip
        super().__init__(
            space, task, device, budgets, evaluator, reward, observation, min_layers, max_layers,
            on_invalid, autoreset_mode, render_mode,
        )  # fmt: skip
        self._masks = position_masks(self.problem.automaton)
        self.action_space = spaces.MultiDiscrete([self._view.size] * len(self._masks))
        self._run = PlayRun(self.rules)
        self._before = np.zeros(self.problem.max_layers, dtype=np.int64)

    @property
    def rows(self) -> int:
        """Tokens of an action."""
        return len(self._masks)

    # ------------------------------------------------------------------------------- episode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Starts an episode, and with a seed a new run.

        Args:
            seed: Decides what ``resample`` and random initial sequences draw.
            options: None are known.
        """
        super().reset(seed=seed)
        if seed is not None:
            self._run = PlayRun(self.rules)
        length, tokens = self.problem.max_layers, self.problem.space.num_tokens
        self._before = self._run.start(length, self.rows, tokens, self.np_random)
        return self._view.of(self._before), {"action_mask": self.action_masks()}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, Info]:  # noqa: ANN401
        """Plays a sequence.

        Args:
            action: Tokens, shape (rows,).

        Raises:
            IllegalAction: If the action lies outside the action space, or the episode is over.
        """
        if self._over:
            raise IllegalAction("the episode is over: call reset() before the next step")
        drawn = self._row(action)
        self._over = True  # stays so if the evaluator raises
        invalid, played = self._write(drawn)
        self.evaluator.count_step(invalid)
        self._finished, spent = None, False
        if self._walk.done:
            reward, _, spent, info = self._measure()
        else:
            reward, info = self.problem.reward.illegal, {"feasible": False}
        fed = reward if spent else self._run.add(played, reward, self._walk.done)
        info |= {"invalid": invalid, "own_reward": float(reward), "plays": self._run.plays}
        return self._end_of_step(played, fed, spent, info)

    def _row(self, action: Any) -> NDArray[np.int64]:  # noqa: ANN401
        """The tokens that an action names, whatever the width of its integers."""
        row, size = np.asarray(action), self._view.size
        whole = row.dtype.kind in "iu" and row.shape == (self.rows,)
        if not whole or row.min() < 0 or row.max() >= size:
            raise IllegalAction(f"{action!r} is no sequence of {self.rows} of 0 … {size - 1}")
        return row.astype(np.int64)

    def _write(self, drawn: NDArray[np.int64]) -> tuple[bool, NDArray[np.int64]]:
        """Walks along a play; whether it was illegal, and the sequence that was played."""
        walk, end, invalid = self._walk, self.problem.space.end_token, False
        walk.restart()
        tokens = iter(drawn.tolist())
        while not walk.done:
            token = next(tokens, 0) or end
            if not walk.allows(token):
                invalid = True
                if self.on_invalid != "resample":
                    return True, self._as_drawn(drawn)
                legal = walk.legal()
                token = int(legal[self.np_random.integers(len(legal))])
            walk.place(token)
        return invalid, walk.tokens.copy()

    def _as_drawn(self, drawn: NDArray[np.int64]) -> NDArray[np.int64]:
        """A play as it was read: up to its end token or its first 0."""
        sequence = np.zeros(self.problem.max_layers, dtype=np.int64)
        stops = np.flatnonzero((drawn == 0) | (drawn == self.problem.space.end_token))
        read = int(stops[0]) + 1 if len(stops) else self.rows
        sequence[:read] = drawn[:read]
        return sequence

    def _end_of_step(
        self, played: NDArray[np.int64], fed: float, spent: bool, info: Info
    ) -> tuple[Observation, float, bool, bool, Info]:
        self._before = played
        terminated = not spent and self._run.terminated
        terminated |= self.on_invalid == "end" and info["invalid"]
        truncated = not terminated and (spent or self._run.truncated)
        if terminated or truncated:
            self.evaluator.count_episode()
        if self._run.gave_up:
            info["gave_up"] = True
        if self.evaluator.spent:
            truncated = truncated or not terminated
            info["budget_spent"] = True
        self._over = terminated or truncated
        info["action_mask"] = self.action_masks()
        if self.render_mode == "human":
            self.render()
        return self._view.of(played), float(fed), bool(terminated), bool(truncated), info

    # --------------------------------------------------------------------------------- views

    def action_masks(self) -> NDArray[np.int8]:
        """What may stand at each position, shape (rows · (K + 1),); a fresh array."""
        return self._masks.reshape(-1).copy()
