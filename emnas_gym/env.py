"""The environment: a step adds a layer token, the end of an episode measures the network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import gymnasium as gym
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from emnas_gym.budgets import Budgets
from emnas_gym.cost_vectors import FLASH, HEAD, KEPT, MACS, PLANNING
from emnas_gym.devices import Device
from emnas_gym.errors import BudgetSpent, EvaluationError, IllegalAction
from emnas_gym.evaluator import Evaluator
from emnas_gym.masks import mask_table
from emnas_gym.measurement import FIELDS, WHOLE, Measurement
from emnas_gym.problem import Problem
from emnas_gym.registry import Spec, make_evaluator
from emnas_gym.rewards import Reward
from emnas_gym.tasks import Task
from emnas_gym.token_space import TokenSpace
from emnas_gym.views import OBSERVATIONS as OBSERVATIONS
from emnas_gym.views import ON_INVALID, PATIENCE, PENALTY, Observation, View, known
from emnas_gym.walker import Walker

if TYPE_CHECKING:
    from emnas_gym.rendering import HumanView, Scene

Info = dict[str, Any]


class EmNASEnv(gym.Env[Observation, np.int64]):
    """Embedded neural architecture search, one layer a step.

    ## Description
    The agent writes a network layer by layer. When it places the output layer, or when no other
    token is left, the network is measured (accuracy, latency, memory) and rewarded.

    ## Actions
    ``Discrete(K + 1)``: the id of the next token. Token 0 means "no layer" and is legal only when
    the episode is over. ``info["action_mask"]`` and `action_masks` tell which tokens are legal;
    with the mask obeyed every finished network builds and fits the budgets on flash, RAM and MACs
    (on devices whose memory we plan; see `emnas_gym.devices.Device`). Where cells are searched
    (`emnas_gym.branched.CellSpace`) that holds of flash and MACs, and ``info["feasible"]`` tells
    whether RAM is kept.

    ## Observations
    ``tokens`` (default): ``MultiDiscrete([K + 1] * max_layers)``, filled up with 0. ``ids``: the
    same numbers as ``Box(int64)``. ``onehot``, ``layers``: flat ``Box(float32)``.

    ## Rewards
    0 until the network is finished, then the reward of its measurement. `on_invalid` decides what
    an illegal token does: ``resample`` puts a uniformly drawn legal token in its place, ``end``
    ends the episode with the declared reward of illegal networks, ``penalise`` leaves the state
    as it is and gives −0.05 of the reward's range.

    ## Start and end
    Starts without layers. Terminates with the network finished (or at an illegal token under
    ``end``); truncates under ``penalise`` after 4 · max_layers steps, and when the ledger that it
    stands on is spent.

    ## Information
    ``action_mask`` always; ``token`` and ``invalid`` of each step; at the end of an episode
    ``architecture`` (tokens, filled up with 0), ``measurement``, ``reward_terms``,
    ``reward_vector``, ``feasible``.

    Args:
        space: Search space: name, path of a TOML file, or object.
        task: What the networks are for: name or `Task`.
        device: Where they run: name or `Device`.
        budgets: Limits by name; those of the device if None.
        evaluator: What measures: a short name, an import string, the path of a fitted predictor's
            ``.json`` file, an object, or a list of these, a later one overriding an earlier one's
            fields.
        reward: Name, mapping with ``name`` and constants, or object.
        observation: One of ``tokens``, ``ids``, ``onehot``, ``layers``.
        min_layers: Least number of tokens, the end token included.
        max_layers: Largest number of tokens, the end token included.
        on_invalid: One of ``resample``, ``end``, ``penalise``.
        autoreset_mode: Accepted so that one call can make single and vector environments; a single
            environment never resets itself.
        render_mode: ``ansi``, ``rgb_array`` or ``human``.

    ## Versions
    v0: first.
    """

    metadata: ClassVar[dict[str, Any]] = {  # type: ignore[misc]
        "render_modes": ["ansi", "rgb_array", "human"],
        "render_fps": 4,
    }

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
    ) -> None:
        known("observation", observation, OBSERVATIONS)
        known("on_invalid", on_invalid, ON_INVALID)
        if render_mode is not None:
            known("render_mode", render_mode, tuple(self.metadata["render_modes"]))
        self.problem = Problem.make(space, task, device, budgets, reward, min_layers, max_layers)
        self.evaluator = make_evaluator(evaluator, self.problem)
        self._owns_evaluator = not isinstance(evaluator, Evaluator)
        self._counts = self.evaluator.counts
        self.observation, self.on_invalid, self.render_mode = observation, on_invalid, render_mode
        self.autoreset_mode = autoreset_mode
        self._walk = Walker(mask_table(self.problem.automaton))
        self._started, self._over = False, True
        self._steps = 0
        patience = PATIENCE * self.problem.max_layers
        self._patience = patience if on_invalid == "penalise" else math.inf
        self._finished: tuple[Measurement, float] | None = None
        self._rewards: list[float] = []
        self._window: HumanView | None = None
        self._view = View(self.problem, observation)
        self.action_space: spaces.Discrete = self._view.action_space
        self.observation_space: spaces.Space[Any] = self._view.observation_space
        self.reward_space = self._view.reward_space

    # ------------------------------------------------------------------------------- episode

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, Info]:
        """Starts an episode without layers.

        Args:
            seed: Decides what ``resample`` draws.
            options: None are known.
        """
        super().reset(seed=seed)
        self._walk.restart()
        self._started, self._over, self._steps, self._finished = True, False, 0, None
        if self.render_mode == "human":
            self.render()
        return self._view.of(self._walk.tokens), {"action_mask": self.action_masks()}

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, Info]:
        """Places a token.

        Args:
            action: Token id.

        Raises:
            IllegalAction: If the action lies outside the action space, or the episode is over.
        """
        if self._over:
            raise IllegalAction("the episode is over: call reset() before the next step")
        token = self._token(action)
        walk = self._walk
        invalid = not walk.allows(token)
        self._steps += 1
        if self._counts:
            self.evaluator.count_step(invalid)
        if invalid and self.on_invalid == "end":
            return self._end_illegally(token)
        if invalid and self.on_invalid == "penalise":
            return self._penalise(token)
        if invalid:
            legal = walk.legal()
            token = int(legal[self.np_random.integers(len(legal))])
        walk.place(token)
        self._over = walk.done  # stays so if the evaluator raises
        info = _token_info(token, invalid)
        if not walk.done:
            return self._answer(0.0, False, self._steps >= self._patience, info)
        reward, terminated, truncated, measured = self._measure()
        return self._answer(reward, terminated, truncated, measured | info)

    def _token(self, action: object) -> int:
        """The id that an action names: a whole number of Python or of any width of numpy."""
        if isinstance(action, np.ndarray) and action.ndim == 0:
            action = action[()]
        if isinstance(action, (np.integer, int)) and not isinstance(action, bool):
            if 0 <= (token := int(action)) < self._view.size:
                return token
        raise IllegalAction(f"action {action!r} is outside 0 … {self._view.size - 1}")

    def _end_illegally(self, token: int) -> tuple[Observation, float, bool, bool, Info]:
        info = _token_info(token, invalid=True) | {"feasible": False}
        return self._answer(self.problem.reward.illegal, True, False, info)

    def _penalise(self, token: int) -> tuple[Observation, float, bool, bool, Info]:
        low, high = self.problem.reward.range
        info = _token_info(token, invalid=True)
        return self._answer(-PENALTY * (high - low), False, self._steps >= self._patience, info)

    def _answer(
        self, reward: float, terminated: bool, truncated: bool, info: Info
    ) -> tuple[Observation, float, bool, bool, Info]:
        if self._counts:
            if terminated or truncated:
                self.evaluator.count_episode()
            if self.evaluator.spent:
                truncated = truncated or not terminated
                info["budget_spent"] = True
        self._over = terminated or truncated
        info["action_mask"] = self.action_masks()
        if self.render_mode == "human":
            self.render()
        return self._view.of(self._walk.tokens), float(reward), terminated, truncated, info

    def _measure(self) -> tuple[float, bool, bool, Info]:
        """Reward, terminated, truncated and infos of the finished network."""
        walks = self._walk.walks()
        info: Info = {"architecture": walks.tokens[0].copy()}
        try:
            result = self.evaluator.columns(walks).results()[0]
        except BudgetSpent:
            return 0.0, False, True, info
        if isinstance(result, EvaluationError):
            return self.problem.reward.illegal, True, False, info | {"feasible": False}
        reward, terms = self.problem.reward(result)
        self._finished = (result, reward)
        self._rewards.append(reward)
        fits = not self.problem.budgets.broken(result) and result.feasible is not False
        vector = self.problem.reward.vector(result)
        known = {"measurement": _numbers(result), "reward_terms": terms, "reward_vector": vector}
        return reward, True, False, info | known | {"feasible": fits}

    # --------------------------------------------------------------------------------- views

    def action_masks(self) -> NDArray[np.int8]:
        """Legal actions as ones, shape (K + 1,); a fresh array at every call."""
        if self._over:
            mask = np.zeros(self._view.size, dtype=np.int8)
            mask[0] = 1
            return mask
        return self._walk.mask()

    def render(self) -> Any:  # noqa: ANN401
        """The network so far: text, pixels (height, width, 3), or a window."""
        if self.render_mode is None or not self._started:
            return None
        from emnas_gym.rendering import HumanView, render_ansi, render_rgb

        scene = self._scene()
        if self.render_mode == "ansi":
            return render_ansi(scene)
        if self.render_mode == "rgb_array":
            return render_rgb(scene)
        self._window = self._window or HumanView()
        self._window.show(scene)
        return None

    def _scene(self) -> Scene:
        from emnas_gym.rendering import make_scene

        measurement, reward = self._finished or (None, None)
        tokens = tuple(self._walk.tokens[: self._walk.placed].tolist())
        return make_scene(self.problem, tokens, measurement, reward, tuple(self._rewards))

    @property
    def spent(self) -> dict[str, int]:
        """Flash, MACs and RAM of the layers placed so far."""
        costs = self._walk.spent
        ram = max(costs[KEPT] + costs[HEAD], costs[PLANNING])
        return {"flash_bytes": costs[FLASH], "macs": costs[MACS], "ram_bytes": ram}

    def close(self) -> None:
        """Closes the window and the evaluator."""
        if self._window is not None:
            self._window.close()
            self._window = None
        if self._owns_evaluator:
            self.evaluator.close()


def _token_info(token: int, invalid: bool) -> Info:
    return {"token": token, "invalid": invalid}


def _numbers(measurement: Measurement) -> dict[str, float]:
    """The known fields as a plain dictionary of numbers, the form that vector environments keep."""
    return {
        name: int(value) if name in WHOLE else float(value)
        for name in FIELDS
        if (value := getattr(measurement, name)) is not None
    }
