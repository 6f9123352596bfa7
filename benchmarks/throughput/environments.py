"""How many steps a second environments take: one, Gymnasium's vectors of it, and the native one.

All replay the same recorded actions, drawn uniformly from the masks; budgets are set, networks are
measured by the surrogate, and infos are made. An episode that ends is followed by the next one in
the same step. The actions before the ones that are timed spread the environments over positions.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from numpy.typing import NDArray

from benchmarks.throughput.stopwatch import Contestant, Times, median, one_thread, race, ratio
from emnas_gym.vector_env import EmNASVectorEnv

ENV = "EmNAS-v0"
SPREAD = 30  # steps before those that are timed
NATIVE = {64: 400, 1024: 100, 8192: 40}  # environments → steps in a round
SINGLE, SYNC, ASYNC = 4000, (64, 60), (8, 60)
Actions = list[NDArray[np.int64]]


def measure_env(rounds: int, advance: Callable[[], None]) -> dict[str, Any]:
    """Measures environments alone.

    Args:
        rounds: Rounds that count.
        advance: Called after each.

    Returns:
        Steps a second: ``single`` (through ``gym.make``), ``vector`` (native, by number of
        environments), ``sync_64``, ``async_8``; ``ratio_to_sync``, of 8,192 native environments to
        64 of `SyncVectorEnv`, round by round; ``cpu``, the same by processor time;
        ``memory_per_env_bytes``, what numpy and Python hold and at most need in a step.
    """
    sync = SyncVectorEnv([_single] * SYNC[0], autoreset_mode=AutoresetMode.SAME_STEP)
    parallel = AsyncVectorEnv([_single] * ASYNC[0], autoreset_mode=AutoresetMode.SAME_STEP)
    try:
        contestants: dict[str, Contestant] = {"single": _play_single()}
        contestants |= {str(count): _play_native(count) for count in NATIVE}
        contestants["sync"] = _play_vector(sync, *SYNC)
        contestants["async"] = _play_vector(parallel, *ASYNC)
        with one_thread():
            times = race(contestants, rounds, advance)
    finally:
        sync.close()
        parallel.close()
    largest = str(max(NATIVE))
    return _figures(times, "wall") | {
        "ratio_to_sync": ratio(times[largest], times["sync"]),
        "cpu": _figures(times, "cpu")
        | {"ratio_to_sync": ratio(times[largest], times["sync"], cpu=True)},
        "memory_per_env_bytes": memory_per_env(),
        "rounds": rounds,
    }


def _figures(times: dict[str, Times], clock: str) -> dict[str, Any]:
    speed = {name: median(getattr(found, clock)) for name, found in times.items()}
    figures: dict[str, Any] = {
        "single": speed["single"],
        "vector": {str(count): speed[str(count)] for count in NATIVE},
        f"sync_{SYNC[0]}": speed["sync"],
    }
    if clock == "wall":  # the processes of the other one have clocks of their own
        figures[f"async_{ASYNC[0]}"] = speed["async"]
    return figures


def native(count: int, **keywords: Any) -> EmNASVectorEnv:  # noqa: ANN401
    """The native environment as ``gym.make_vec`` gives it."""
    made = gym.make_vec(
        ENV,
        num_envs=count,
        vectorization_mode="vector_entry_point",
        autoreset_mode="same_step",
        **keywords,
    )
    assert isinstance(made, EmNASVectorEnv)
    return made


def _single() -> gym.Env[Any, Any]:
    return gym.make(ENV)


def _record(count: int, steps: int) -> Actions:
    """Masked-uniform actions of environments; after `SPREAD` steps these stand at any position."""
    envs, rng, actions = native(count), np.random.default_rng(0), []
    envs.reset(seed=0)
    for _ in range(SPREAD + steps):
        actions.append(envs.sample(rng))
        envs.step(actions[-1])
    return actions


def _play_native(count: int) -> Contestant:
    return _play_vector(native(count), count, NATIVE[count])


def _play_vector(envs: Any, count: int, steps: int) -> Contestant:  # noqa: ANN401
    actions = _record(count, steps)

    def spread() -> None:
        envs.reset(seed=0)
        for action in actions[:SPREAD]:
            envs.step(action)

    def play() -> int:
        for action in actions[SPREAD:]:
            envs.step(action)
        return count * steps

    return Contestant(spread, play)


def _play_single() -> Contestant:
    env, actions = _single(), _record(1, SINGLE)

    def play() -> int:
        for action in actions:
            _, _, terminated, truncated, _ = env.step(action[0])
            if terminated or truncated:
                env.reset()
        return len(actions)

    return Contestant(lambda: env.reset(seed=0), play)


def memory_per_env(count: int = 8192) -> dict[str, float]:
    """Bytes of one of many native environments, by tracemalloc, which numpy tells of its arrays.

    Args:
        count: Environments.

    Returns:
        ``held`` between two steps, what the last one returned included, and ``peak`` in a step.
    """
    rng = np.random.default_rng(0)
    for _ in range(2):  # tables that all environments of a process share are made the first time
        tracemalloc.start()
        envs = native(count)
        envs.reset(seed=0)
        for _ in range(SPREAD):
            answer = envs.step(envs.sample(rng))
        held = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        answer = envs.step(envs.sample(rng))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        del answer
    return {"held": held / count, "peak": peak / count}
