"""Many environments as one: all state in arrays, one evaluation a step for all that finish."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from emnas_gym.budgets import Budgets
from emnas_gym.columns import Columns
from emnas_gym.devices import Device
from emnas_gym.errors import BudgetSpent, EmNASError, IllegalAction, UnknownName
from emnas_gym.evaluator import Evaluator
from emnas_gym.masks import mask_table
from emnas_gym.problem import Problem
from emnas_gym.registry import Spec, make_evaluator
from emnas_gym.rewards import Reward
from emnas_gym.tasks import Task
from emnas_gym.token_space import TokenSpace
from emnas_gym.vector_info import Info, measured_info, put, put_rows
from emnas_gym.vector_turn import Flags, Ints, Turn
from emnas_gym.views import ON_INVALID, PATIENCE, PENALTY, Observation, View, known
from emnas_gym.walk_batch import WalkBatch
from emnas_gym.walks import Walks

RENDER_MODES = ("ansi", "rgb_array")
EVERY = slice(None)


class EmNASVectorEnv(VectorEnv[Observation, NDArray[Any], NDArray[Any]]):
    """N environments of `emnas_gym.env.EmNASEnv` as one.

    It passes through the same trajectories as N single environments with the same seeds and
    actions, bit for bit, many times faster: there is no Python object for an environment, and all
    networks that are finished in a step are measured together.

    ## Actions, observations, rewards, start and end
    Those of `EmNASEnv`, with a first axis of N.

    ## Autoreset
    ``next_step`` (Gymnasium's default): the step after the end of an episode ignores the action and
    starts the next one, with reward 0. ``same_step``: the next episode starts in the step that ends
    one; what that ended with stands in ``final_obs`` and ``final_info``. ``disabled``: nothing
    starts by itself; ``reset(options={"reset_mask": flags})`` does.

    ## Information
    In Gymnasium's form: an array with a value for each environment, and under ``_key`` which of
    them have one.

    ========================  =========================  =======================================
    key                       form                       which environments
    ========================  =========================  =======================================
    ``action_mask``           (N, K + 1) int8            all
    ``token``                 (N,) int64                 those that took a step
    ``invalid``               (N,) bool                  those that took a step
    ``architecture``          (N, max_layers) int16      those with a complete network
    ``measurement``           nested, (N,) a field       those whose network was measured
    ``reward_terms``          nested, (N,) a term        those whose network was measured
    ``reward_vector``         (N, objectives) float32    those whose network was measured
    ``feasible``              (N,) bool                  those with a complete network, and those
                                                         that an illegal token has ended
    ``budget_spent``          (N,) bool                  those that find their ledger spent
    ``final_obs``             (N,) object                ``same_step``: those that have ended
    ``final_info``            nested: all of the above   ``same_step``: those that have ended
    ========================  =========================  =======================================

    Every array is fresh in every step, but several of them may be parts of one block: they share no
    value. Where an episode is over (``next_step``, ``disabled``) token 0 alone is
    legal.

    Args:
        num_envs: N.
        space: As in `EmNASEnv`, and so the following.
        task: What the networks are for.
        device: Where they run.
        budgets: Limits by name.
        evaluator: What measures; one for all.
        reward: Name, mapping with ``name`` and constants, or object.
        observation: One of ``tokens``, ``ids``, ``onehot``, ``layers``.
        min_layers: Least number of tokens.
        max_layers: Largest number of tokens.
        on_invalid: One of ``resample``, ``end``, ``penalise``.
        autoreset_mode: ``next_step`` (if None), ``same_step``, ``disabled``; a name, since
            specifications are JSON, or Gymnasium's `AutoresetMode`.
        render_mode: ``ansi`` or ``rgb_array``: one frame for each environment.

    Raises:
        EmNASError: If there is no environment.
        UnknownName: If a mode has another name.
    """

    def __init__(
        self,
        num_envs: int = 1,
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
        autoreset_mode: str | AutoresetMode | None = None,
        render_mode: str | None = None,
    ) -> None:
        if num_envs < 1:
            raise EmNASError(f"a vector of environments has one or more, not {num_envs}")
        self.on_invalid = known("on_invalid", on_invalid, ON_INVALID)
        if render_mode is not None:
            known("render_mode", render_mode, RENDER_MODES)
        self.autoreset_mode = _mode(autoreset_mode)
        self.metadata = {
            "render_modes": list(RENDER_MODES),
            "render_fps": 4,
            "autoreset_mode": self.autoreset_mode,
        }
        self.problem = Problem.make(space, task, device, budgets, reward, min_layers, max_layers)
        self.evaluator = make_evaluator(evaluator, self.problem)
        self._owns_evaluator = not isinstance(evaluator, Evaluator)
        self._counts = self.evaluator.counts
        self.num_envs, self.observation, self.render_mode = num_envs, observation, render_mode
        self._view = View(self.problem, observation)
        self.single_action_space: gym.Space[Any] = self._view.action_space
        self.single_observation_space: gym.Space[Any] = self._view.observation_space
        self.reward_space = self._view.reward_space
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._make_state()

    def _make_state(self) -> None:
        count = self.num_envs
        self._table = mask_table(self.problem.automaton)
        self._batch = WalkBatch(self._table, count)
        self._all = np.ones(count, dtype=np.bool_)
        self._over, self._any_over = self._all.copy(), True
        self._started, self._generation = False, -1
        self._steps = np.zeros(count, dtype=np.int64)
        self._seeds: list[int | None] = [None] * count
        self._generators: dict[int, np.random.Generator] = {}
        self._look_up()

    # --------------------------------------------------------------------------------- episodes

    def reset(
        self,
        *,
        seed: int | Sequence[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, Info]:
        """Starts an episode in every environment.

        Args:
            seed: Decides what ``resample`` draws: environment i has seed + i, or the i-th one.
            options: ``reset_mask``, (N,) bool: only these environments are reset.

        Raises:
            EmNASError: If seeds or mask are not one for each environment.
        """
        chosen = self._chosen(options)
        self._seed(seed, chosen)
        rows = EVERY if chosen.all() else np.flatnonzero(chosen)
        self._batch.restart(rows)
        self._steps[rows] = 0
        self._over[rows] = False
        self._any_over = bool(self._over.any())
        self._started = True
        self._look_up()
        info: Info = {}
        masks = self.action_masks()
        put(info, "action_mask", masks if rows is EVERY else masks * chosen[:, None], chosen)
        return self._view.of(self._batch.tokens), info

    def _chosen(self, options: dict[str, Any] | None) -> Flags:
        chosen = (options or {}).get("reset_mask")
        if chosen is None:
            return np.ones(self.num_envs, dtype=np.bool_)
        right = isinstance(chosen, np.ndarray) and chosen.shape == (self.num_envs,)
        if not right or chosen.dtype != np.bool_ or not chosen.any():
            raise EmNASError(
                f"options['reset_mask'] is an array of {self.num_envs} booleans, one or more of "
                f"them true, not {chosen!r}"
            )
        return np.array(chosen)

    def _seed(self, seed: int | Sequence[int | None] | None, chosen: Flags) -> None:
        """Notes the seeds; generators are made when they are asked for."""
        if seed is None:
            return
        if isinstance(seed, (int, np.integer)):
            super().reset(seed=int(seed))
            seeds: list[int | None] = [int(seed) + i for i in range(self.num_envs)]
        else:
            seeds = list(seed)
        if len(seeds) != self.num_envs:
            raise EmNASError(f"{len(seeds)} seeds for {self.num_envs} environments")
        for i in np.flatnonzero(chosen).tolist():
            if seeds[i] is not None:
                self._seeds[i] = seeds[i]
                self._generators.pop(i, None)

    def _generator(self, i: int) -> np.random.Generator:
        if i not in self._generators:
            self._generators[i] = seeding.np_random(self._seeds[i])[0]
        return self._generators[i]

    def step(
        self, actions: NDArray[Any]
    ) -> tuple[Observation, NDArray[np.float64], Flags, Flags, Info]:
        """Places a token in every environment.

        Args:
            actions: (N,), token ids.

        Raises:
            IllegalAction: If an action lies outside the action space, or an episode is over and
                does not start again by itself; nothing has changed then.
        """
        turn = self._begin(actions)
        self._place(turn)
        self._measure(turn)
        if self._counts:
            self._count(turn)
        ended = turn.terminated | turn.truncated
        rows = ended.nonzero()[0]
        if self.autoreset_mode != AutoresetMode.SAME_STEP:
            self._over, self._any_over = ended, len(rows) > 0
            info = self._told(turn)
        else:
            info = self._restarted(turn, rows, ended) if len(rows) else self._told(turn)
        self._look_up()
        info["action_mask"] = self.action_masks()
        info["_action_mask"] = self._all.copy()
        observation = self._view.of(self._batch.tokens)
        return observation, turn.rewards, turn.terminated, turn.truncated, info

    def _begin(self, actions: NDArray[Any]) -> Turn:
        """Checks the actions before anything changes."""
        tokens = self._tokens(actions)
        if self._any_over:
            if not self._started or self.autoreset_mode != AutoresetMode.NEXT_STEP:
                over = np.flatnonzero(self._over)[:10].tolist()
                raise IllegalAction(
                    f"the episodes of environments {over} are over: reset them before the next step"
                )
        if self._generation != self._table.generation:
            self._look_up()
        invalid = self._table.rows.take(self._rows * self._view.size + tokens) == 0
        count, stepped, all_step = self.num_envs, self._all, not self._any_over
        self._generation = -1  # masks are found anew, even if the evaluator raises
        if self._any_over:
            stepped = ~self._over
            invalid &= stepped
            self._batch.restart(np.flatnonzero(self._over))
            self._steps[self._over] = 0
            self._over, self._any_over = np.zeros(count, dtype=np.bool_), False
        zeros = np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.bool_)
        nothing = np.zeros(0, dtype=np.int64)
        rewards = np.zeros(count)
        return Turn(tokens, stepped, all_step, invalid, rewards, *zeros, nothing, 0, None, {})

    def _tokens(self, actions: NDArray[Any]) -> Ints:
        given = np.asarray(actions)
        if given.shape != (self.num_envs,) or given.dtype.kind not in "iu":
            raise IllegalAction(
                f"actions are {self.num_envs} whole numbers, not {given.dtype} of {given.shape}"
            )
        tokens = given.astype(np.int64)
        largest = self._view.size - 1
        if np.maximum.reduce(tokens.view(np.uint64)) > largest:
            i = int(np.flatnonzero((tokens < 0) | (tokens > largest))[0])
            raise IllegalAction(f"environment {i}: action {given[i]} is outside 0 … {largest}")
        return tokens

    def _place(self, turn: Turn) -> None:
        moving, all_move = turn.stepped, turn.all_step
        wrong = turn.invalid.nonzero()[0]
        if len(wrong) and self.on_invalid == "resample":
            for i in wrong.tolist():
                legal = np.flatnonzero(self._table.rows[self._rows[i]])
                turn.tokens[i] = legal[self._generator(i).integers(len(legal))]
        elif len(wrong):
            moving, all_move = turn.stepped & ~turn.invalid, False
            self._refuse(turn, wrong)
        if all_move:
            self._batch.place(EVERY, turn.tokens)
        else:
            rows = moving.nonzero()[0]
            self._batch.place(rows, turn.tokens[rows])
        if self.on_invalid == "penalise":
            self._steps += turn.stepped
            turn.truncated = self._steps >= PATIENCE * self.problem.max_layers
        turn.finished = (self._batch.state < 0).nonzero()[0]
        if len(turn.finished):
            turn.truncated[turn.finished] = False
            self._over[turn.finished] = self._any_over = True  # stay so if the evaluator raises

    def _refuse(self, turn: Turn, rows: Ints) -> None:
        """What an illegal token does that is not replaced."""
        if self.on_invalid == "end":
            turn.rewards[rows] = self.problem.reward.illegal
            turn.terminated[rows] = True
        else:
            low, high = self.problem.reward.range
            turn.rewards[rows] = -PENALTY * (high - low)

    # ------------------------------------------------------------------------------ measurement

    def _measure(self, turn: Turn) -> None:
        """Measures the finished networks, or as many of them as the ledger has left."""
        rows, count = turn.finished, self.num_envs
        feasible = np.zeros(count, dtype=np.bool_)
        judged = turn.terminated.copy()  # by an illegal token
        if len(rows):
            walks = self._batch.walks(rows)
            put_rows(turn.info, "architecture", rows, walks.tokens, count)
            columns = self._columns(walks)
            turn.measured = 0 if columns is None else len(columns)
            measured = rows[: turn.measured]
            turn.terminated[measured] = judged[measured] = True
            turn.truncated[rows[turn.measured :]] = True
            if columns is not None:
                found = self.problem.reward.batch(columns)
                turn.rewards[measured] = found.rewards
                fits = ~self.problem.budgets.any_broken(columns)
                if columns.feasible is not None:
                    fits &= columns.feasible
                if columns.errors:
                    fits[list(columns.errors)] = False
                feasible[measured] = fits
                turn.info |= measured_info(columns, found.terms, found.vector, measured, count)
        if np.count_nonzero(judged):
            put(turn.info, "feasible", feasible, judged)

    def _columns(self, walks: Walks) -> Columns | None:
        """What the evaluator says of the first walks, all that it has left; None if nothing."""
        remaining = self.evaluator.remaining
        if remaining is not None and remaining < len(walks):
            if remaining <= 0:
                return None
            walks = walks.take(slice(0, remaining))
        try:
            return self.evaluator.columns(walks)
        except BudgetSpent:
            return None

    def _count(self, turn: Turn) -> None:
        measured = np.zeros(self.num_envs, dtype=np.bool_)
        measured[turn.finished[: turn.measured]] = True
        ended = turn.terminated | turn.truncated
        spent = self.evaluator.count_steps(turn.invalid[turn.stepped], measured, ended)
        if spent is not None:
            turn.spent = spent & turn.stepped
            turn.truncated |= turn.spent & ~turn.terminated

    def _told(self, turn: Turn) -> Info:
        """The infos where no episode starts in the step that ends one."""
        info = turn.info
        if turn.all_step or turn.stepped.any():
            tokens = turn.tokens if turn.all_step else turn.tokens * turn.stepped
            put(info, "token", tokens, turn.stepped)
            put(info, "invalid", turn.invalid, turn.stepped)
        self._tell_spent(info, turn)
        return info

    def _tell_spent(self, info: Info, turn: Turn) -> None:
        if turn.spent is not None and turn.spent.any():
            put(info, "budget_spent", turn.spent.copy(), turn.spent)

    def _restarted(self, turn: Turn, rows: Ints, ended: Flags) -> Info:
        """Starts the next episodes; what the last ones told becomes ``final_info``.

        All environments have taken the step.
        """
        count, size, going = self.num_envs, self._view.size, ~ended
        info, tokens = turn.info, np.zeros(count, dtype=np.int64)
        tokens[rows] = turn.tokens.take(rows)
        put(info, "token", tokens, ended)
        put(info, "invalid", turn.invalid & ended, ended)
        self._tell_spent(info, turn)
        masks = np.zeros((count, size), dtype=np.int8)
        masks.reshape(-1)[rows * size] = 1
        put(info, "action_mask", masks, ended)
        last = np.empty(count, dtype=object)
        seen = self._view.of(self._batch.tokens.take(rows, axis=0))
        last[rows] = np.fromiter(seen, dtype=object, count=len(rows))
        self._batch.restart(rows)
        self._steps[rows] = 0
        self._over, self._any_over = np.zeros(count, dtype=np.bool_), False
        now: Info = {"final_obs": last, "_final_obs": ended, "final_info": info}
        now["_final_info"] = ended.copy()
        if len(rows) < count:
            turn.tokens[rows] = 0
            put(now, "token", turn.tokens, going)
            put(now, "invalid", turn.invalid & going, going)
        return now

    # ------------------------------------------------------------------------------------ views

    def _look_up(self) -> None:
        """Finds the masks of all environments."""
        self._rows = self._batch.masks(self._over if self._any_over else None)
        self._generation = self._table.generation

    def action_masks(self) -> NDArray[np.int8]:
        """Legal actions as ones, shape (N, K + 1); a fresh array at every call.

        ``action_masks().view(bool)`` are flags without another copy.
        """
        if self._generation != self._table.generation:
            self._look_up()
        masks: NDArray[np.int8] = self._table.rows.take(self._rows, axis=0)
        return masks

    def sample(self, rng: np.random.Generator) -> Ints:
        """Uniformly drawn legal actions, shape (N,), without a loop over environments.

        Args:
            rng: Source of randomness.
        """
        if self._generation != self._table.generation:
            self._look_up()
        return self._table.draw(self._rows, rng)

    def render(self) -> tuple[Any, ...] | None:
        """The networks so far, one frame for each environment: text, or (height, width, 3)."""
        if self.render_mode is None or not self._started:
            return None
        from emnas_gym.rendering import make_scene, render_ansi, render_rgb

        draw = render_ansi if self.render_mode == "ansi" else render_rgb
        rows = zip(self._batch.tokens.tolist(), self._batch.placed.tolist(), strict=True)
        scenes = (make_scene(self.problem, tuple(r[:n]), None, None, ()) for r, n in rows)
        return tuple(draw(scene) for scene in scenes)

    def close_extras(self, **kwargs: Any) -> None:  # noqa: ANN401
        """Closes the evaluator, if it was made here."""
        if self._owns_evaluator:
            self.evaluator.close()


def _mode(mode: str | AutoresetMode | None) -> AutoresetMode:
    if mode is None:
        return AutoresetMode.NEXT_STEP
    if isinstance(mode, AutoresetMode):
        return mode
    for found in AutoresetMode:
        if str(mode).lower() in (found.value.lower(), found.name.lower()):
            return found
    raise UnknownName("autoreset_mode", str(mode), [found.name.lower() for found in AutoresetMode])
