"""How fast MaskablePPO samples and learns on the native environment, beside single ones.

Three comparisons, since no single number is fair: rollouts alone; sampling and learning with equal
batches and epochs; and settings that suit many environments against Stable-Baselines3's defaults,
where both stop at the same reward. All have the same policy, problem and seeds. The policy is the
library's own on the details of layers: those of our agents take longer for few environments, so
that they would make the native one look better.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from agents.native_vec_env import SB3VecEnv
from benchmarks.throughput.environments import ENV, native
from benchmarks.throughput.stopwatch import Contestant, Times, median, one_thread, race, ratio
from emnas_gym import REGISTERED
from emnas_gym.env import EmNASEnv

OBSERVATION = "layers"
SINGLE, MANY, BATCH, EPOCHS = 8, 1024, 4096, 4
DEFAULT_STEPS = 2048  # samples of an environment between two updates, SB3's default
TO_EQUAL = 65_536  # samples with the defaults; the reward at their end is the one to reach
PATIENCE = 8  # settings for many stop after so many times as many samples at the latest
SETTINGS: dict[str, Any] = {  # that suit many environments; the reward comes at the end: gamma is 1
    "n_steps": BATCH // MANY * 4,
    "batch_size": 1024,
    "n_epochs": EPOCHS,
    "learning_rate": 0.003,
    "ent_coef": 0.01,
    "gamma": 1.0,
}


def measure_sb3(rounds: int, advance: Callable[[], None]) -> dict[str, Any]:
    """Measures MaskablePPO.

    Args:
        rounds: Rounds that count, of equal batches, then of settings.
        advance: Called after each of both.

    Returns:
        ``rollout`` and ``end_to_end``: samples a second with 8 single and 1,024 native
        environments, by the clock (``wall``) and by processor time (``cpu``), and the ratio by the
        latter; ``rollout_ratio`` and ``end_to_end_ratio``, by the clock, round by round; and
        ``native_settings``; see there.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with one_thread():
            figures = _equal_batches(rounds, advance)
            return figures | {"native_settings": native_settings(rounds, advance)}
    finally:
        torch.set_num_threads(before)


def single_envs(count: int) -> VecEnv:
    """Single environments in turn, as Stable-Baselines3 makes them."""
    return DummyVecEnv([lambda: EmNASEnv(**REGISTERED[ENV], observation=OBSERVATION)] * count)


def native_envs(count: int) -> VecEnv:
    """Native environments."""
    return SB3VecEnv(native(count, observation=OBSERVATION))


def maskable_ppo(envs: VecEnv, seed: int, **settings: Any) -> MaskablePPO:  # noqa: ANN401
    """MaskablePPO with the policy that Stable-Baselines3 ships: two layers of 64 on vectors."""
    return MaskablePPO("MlpPolicy", envs, seed=seed, device="cpu", **settings)


def _equal_batches(rounds: int, advance: Callable[[], None]) -> dict[str, Any]:
    models = {}
    for name, envs in (("single", single_envs(SINGLE)), ("native", native_envs(MANY))):
        steps = BATCH // envs.num_envs
        settings = {"n_steps": steps, "batch_size": BATCH, "n_epochs": EPOCHS, "gamma": 1.0}
        models[name] = maskable_ppo(envs, 0, **settings)
    contestants = {}
    for name, model in models.items():
        contestants[f"rollout {name}"] = _rollout(model)
        contestants[f"end to end {name}"] = _learning(model)
    times = race(contestants, rounds, advance)
    figures: dict[str, Any] = {}
    for key, name in (("rollout", "rollout"), ("end_to_end", "end to end")):
        pair: dict[str, Times] = {of: times[f"{name} {of}"] for of in models}
        figures[f"{key}_ratio"] = ratio(pair["native"], pair["single"])
        figures[key] = {
            f"{of}_{count}": {"wall": median(pair[of].wall), "cpu": median(pair[of].cpu)}
            for of, count in (("single", SINGLE), ("native", MANY))
        }
        figures[key]["cpu_ratio"] = ratio(pair["native"], pair["single"], cpu=True)
    return figures


class _Nothing(BaseCallback):
    """A callback that watches nothing."""

    def _on_step(self) -> bool:
        return True


def _rollout(model: MaskablePPO) -> Contestant:
    callback = _Nothing()
    callback.init_callback(model)

    def prepare() -> None:
        model._setup_learn(BATCH)

    envs = model.env
    assert envs is not None

    def collect() -> int:
        model.collect_rollouts(envs, callback, model.rollout_buffer, model.n_steps, True)
        return BATCH

    return Contestant(prepare, collect)


def _learning(model: MaskablePPO) -> Contestant:
    def learn() -> int:
        model.learn(2 * BATCH)
        return 2 * BATCH

    return Contestant(lambda: None, learn)


# --------------------------------------------------------------------------- to an equal reward


@dataclass(frozen=True)
class Point:
    """How far a run of learning is after a rollout.

    Attributes:
        samples: Steps of all environments so far.
        seconds: By the clock, since it began.
        reward: Mean over the networks that this rollout finished; not a number if it finished none.
    """

    samples: int
    seconds: float
    reward: float


class Trace(BaseCallback):
    """Takes a point after every rollout; ends the learning once that is enough.

    Args:
        samples: Steps that are taken in any case.
        level: Mean reward of a rollout that has to be reached as well.
    """

    def __init__(self, samples: int, level: float = -np.inf) -> None:
        super().__init__()
        self.samples, self.level = samples, level
        self.points: list[Point] = []
        self._start = self._rewards = self._ended = 0.0

    def _on_training_start(self) -> None:
        self._start = time.perf_counter()

    def _on_step(self) -> bool:
        self._rewards += float(self.locals["rewards"].sum())  # all of them come with an end
        self._ended += float(self.locals["dones"].sum())
        return not self.points or self.points[-1].samples < self.samples or not self.reached

    def _on_rollout_end(self) -> None:
        mean = self._rewards / self._ended if self._ended else np.nan
        self.points.append(Point(self.num_timesteps, time.perf_counter() - self._start, mean))
        self._rewards = self._ended = 0.0

    @property
    def reached(self) -> Point | None:
        """The first point at the level, or above it."""
        return next((point for point in self.points if point.reward >= self.level), None)


def native_settings(rounds: int, advance: Callable[[], None]) -> dict[str, Any]:
    """SB3's defaults on 8 single environments, and our settings on 1,024 native ones, in turn.

    The level is the mean reward of the networks that the last rollout of the defaults finishes,
    after `TO_EQUAL` samples of that round's seed.

    Args:
        rounds: Seeds; both learn once with each.
        advance: Called after each.

    Returns:
        ``samples`` of the defaults, and medians over rounds: the ``level``; for each of the two
        samples a second (wall and processor time), the reward of its first rollout, before
        anything was learnt, seconds and samples until the level was first reached, and in how many
        rounds it was; ``ratio``, how many times more samples a second ours takes, and
        ``seconds_ratio``, how many times sooner it is at the level (0 where it never was).
    """
    pairs = []
    for seed in range(rounds):
        pairs.append(_pair(seed))
        advance()
    names = ("sb3_defaults", "native")
    told: dict[str, Any] = {name: _medians([pair[name] for pair in pairs]) for name in names}
    speeds = [pair["native"]["wall"] / pair["sb3_defaults"]["wall"] for pair in pairs]
    sooner = [_sooner(*(pair[name]["seconds_to_level"] for name in names)) for pair in pairs]
    return {
        "samples": TO_EQUAL,
        "rounds": rounds,
        "level": median([pair["level"] for pair in pairs]),
        **told,
        "ratio": median(speeds),
        "seconds_ratio": median(sooner),
    }


def _pair(seed: int) -> dict[str, Any]:
    """Both learners with one seed; the first one sets the level."""
    defaults = Trace(TO_EQUAL)
    first = _learn(maskable_ppo(single_envs(SINGLE), seed, n_steps=DEFAULT_STEPS), defaults)
    level = defaults.points[-1].reward
    ours = Trace(TO_EQUAL, level)
    second = _learn(maskable_ppo(native_envs(MANY), seed, **SETTINGS), ours)
    defaults.level = level
    return {
        "level": level,
        "sb3_defaults": first | _to_level(defaults),
        "native": second | _to_level(ours),
    }


def _learn(model: MaskablePPO, trace: Trace) -> dict[str, float]:
    """Samples a second by the clock and by processor time."""
    wall, cpu = time.perf_counter(), time.process_time()
    model.learn(PATIENCE * TO_EQUAL, callback=trace)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {"wall": model.num_timesteps / wall, "cpu": model.num_timesteps / max(cpu, 1e-9)}


def _to_level(trace: Trace) -> dict[str, float | None]:
    at = trace.reached
    return {
        "first_reward": trace.points[0].reward,
        "seconds_to_level": None if at is None else at.seconds,
        "samples_to_level": None if at is None else float(at.samples),
    }


def _medians(runs: list[dict[str, float | None]]) -> dict[str, float | None]:
    """Medians over rounds; one that never came to the level came last, and has no number."""
    found: dict[str, float | None] = {}
    for key in runs[0]:
        value = median([np.inf if run[key] is None else float(run[key] or 0.0) for run in runs])
        found[key] = value if np.isfinite(value) else None
    found["reached"] = float(sum(run["seconds_to_level"] is not None for run in runs))
    return found


def _sooner(defaults: float | None, ours: float | None) -> float:
    return 0.0 if ours is None or defaults is None else defaults / ours
