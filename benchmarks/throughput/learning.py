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
from typing import Any

import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecMonitor

from agents.native_vec_env import SB3VecEnv
from benchmarks.throughput.environments import ENV, native
from benchmarks.throughput.stopwatch import Contestant, Times, median, one_thread, race, ratio
from emnas_gym import REGISTERED
from emnas_gym.env import EmNASEnv

OBSERVATION = "layers"
SINGLE, MANY, BATCH, EPOCHS = 8, 1024, 4096, 4
DEFAULT_STEPS = 2048  # samples of an environment between two updates, SB3's default
TO_EQUAL = 65_536  # samples with the defaults; the best reward on their way is the one to reach
PATIENCE = 8  # settings for many stop after so many times as many samples at the latest
SEEDS = (0, 1, 2)
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
        rounds: Rounds that count.
        advance: Called after each.

    Returns:
        ``rollout`` and ``end_to_end``, samples a second with 8 single and 1,024 native
        environments; ``rollout_ratio`` and ``end_to_end_ratio``, round by round; and
        ``equal_reward``, samples a second and seconds of SB3's defaults and of our settings.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with one_thread():
            figures = _equal_batches(rounds, advance)
            return figures | {"equal_reward": equal_reward()}
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


# ------------------------------------------------------------------------------ equal reward


class _Until(BaseCallback):
    """Stops once the mean reward of the latest hundred networks reaches a goal.

    Attributes:
        first: That mean after the first rollout, before anything was learnt.
        best: The largest one after any rollout.
    """

    def __init__(self, goal: float) -> None:
        super().__init__()
        self.goal, self.first, self.best = goal, -np.inf, -np.inf

    def _on_step(self) -> bool:
        return self.best < self.goal

    def _on_rollout_end(self) -> None:
        reward = latest_reward(self.model)
        self.first = reward if self.best == -np.inf else self.first
        self.best = max(self.best, reward)


def latest_reward(model: Any) -> float:  # noqa: ANN401
    """Mean reward of the latest hundred networks; −∞ before there are as many."""
    latest = [episode["r"] for episode in model.ep_info_buffer or ()]
    return float(np.mean(latest)) if len(latest) >= 100 else -np.inf


def equal_reward(samples: int = TO_EQUAL, seeds: tuple[int, ...] = SEEDS) -> dict[str, Any]:
    """SB3's defaults on 8 single environments, and our settings on 1,024 native ones.

    Args:
        samples: What the defaults have; the best reward on their way is the goal, mean of a
            hundred networks at the end of a rollout.
        seeds: Runs of each.

    Returns:
        For each, the medians over seeds of samples a second, seconds and samples to the goal, and
        in how many runs it was reached.
    """
    runs = [_pair(samples, seed) for seed in seeds]
    figures: dict[str, Any] = {"seeds": len(seeds)}
    for name in ("sb3_defaults", "native_settings"):
        of = [run[name] for run in runs]
        figures[name] = {key: median([run[key] for run in of]) for key in of[0] if key != "reached"}
        figures[name]["reached"] = sum(run["reached"] for run in of)
    speeds = [
        r["native_settings"]["samples_per_s"] / r["sb3_defaults"]["samples_per_s"] for r in runs
    ]
    return figures | {"samples_ratio": median(speeds)}


def _pair(samples: int, seed: int) -> dict[str, dict[str, float]]:
    default = maskable_ppo(VecMonitor(single_envs(SINGLE)), seed, n_steps=DEFAULT_STEPS)
    first = _timed(default, samples, np.inf)
    goal = first["reward"]
    ours = maskable_ppo(VecMonitor(native_envs(MANY)), seed, **SETTINGS)
    found = {"sb3_defaults": first, "native_settings": _timed(ours, PATIENCE * samples, goal)}
    for run in found.values():
        run["reached"] = run["reward"] >= goal
    return found


def _timed(model: MaskablePPO, samples: int, goal: float) -> dict[str, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    until = _Until(goal)
    model.learn(samples, callback=until)
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "seconds": wall,
        "cpu_seconds": cpu,
        "samples": float(model.num_timesteps),
        "samples_per_s": model.num_timesteps / wall,
        "first_reward": until.first,
        "reward": until.best,
    }
