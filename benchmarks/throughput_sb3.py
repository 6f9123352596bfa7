"""How fast MaskablePPO samples and learns on the native environment, beside single ones.

Three comparisons, since no single number is fair: rollouts alone; sampling and learning with equal
batches and epochs; and settings that suit many environments against Stable-Baselines3's defaults,
where both stop at the same reward. All have the same policy, problem and seeds.
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
from agents.token_actor import MaskableTokenActorCritic
from agents.token_embedding import TokenEmbedding
from benchmarks.stopwatch import Contestant, Times, median, one_thread, race, ratio
from benchmarks.throughput_env import ENV, native
from emnas_gym import REGISTERED
from emnas_gym.env import EmNASEnv
from emnas_gym.problem import Problem

SINGLE, MANY, BATCH, EPOCHS = 8, 1024, 4096, 4
DEFAULT_STEPS = 2048  # samples of an environment between two updates, SB3's default
TO_EQUAL = 32_768  # samples with the defaults; their reward is the one to reach
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
    return DummyVecEnv([lambda: EmNASEnv(**REGISTERED[ENV], observation="ids")] * count)


def native_envs(count: int) -> VecEnv:
    """Native environments."""
    return SB3VecEnv(native(count, observation="ids"))


def maskable_ppo(envs: VecEnv, seed: int, **settings: Any) -> MaskablePPO:  # noqa: ANN401
    """MaskablePPO with the policy that our agent has."""
    keywords = {
        k: v for k, v in REGISTERED[ENV].items() if k in ("space", "task", "device", "budgets")
    }
    problem = Problem.make(**keywords)
    return MaskablePPO(
        MaskableTokenActorCritic,
        envs,
        seed=seed,
        device="cpu",
        policy_kwargs={
            "features_extractor_class": TokenEmbedding,
            "features_extractor_kwargs": {"problem": problem, "width": 16, "end_of": "masked"},
            "net_arch": {"pi": [128, 128], "vf": [128, 128]},
            "space": problem.space,
        },
        **settings,
    )


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
    """Stops once the mean reward of the latest hundred networks reaches a goal."""

    def __init__(self, goal: float) -> None:
        super().__init__()
        self.goal = goal

    def _on_step(self) -> bool:
        return latest_reward(self.model) < self.goal


def latest_reward(model: Any) -> float:  # noqa: ANN401
    """Mean reward of the latest hundred networks; −∞ before there are as many."""
    latest = [episode["r"] for episode in model.ep_info_buffer or ()]
    return float(np.mean(latest)) if len(latest) >= 100 else -np.inf


def equal_reward(samples: int = TO_EQUAL, seeds: tuple[int, ...] = SEEDS) -> dict[str, Any]:
    """SB3's defaults on 8 single environments, and our settings on 1,024 native ones.

    Args:
        samples: What the defaults have; the reward that they end with is the goal.
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
    model.learn(samples, callback=_Until(goal))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "seconds": wall,
        "cpu_seconds": cpu,
        "samples": float(model.num_timesteps),
        "samples_per_s": model.num_timesteps / wall,
        "reward": latest_reward(model),
    }
