"""The examples train as they stand: PPO of our own in one file, and Stable-Baselines3's."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]


def _example(name: str) -> ModuleType:
    path = ROOT / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"example_{name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _tenths(rewards: list[float]) -> tuple[float, float]:
    tenth = len(rewards) // 10
    return float(np.mean(rewards[:tenth])), float(np.mean(rewards[-tenth:]))


def test_ppo_of_our_own_finishes_networks_and_repeats() -> None:
    loop = _example("ppo_loop")
    settings = loop.Settings(steps=1024, seed=3)
    rewards = loop.train(settings)
    assert len(rewards) > 60
    assert 0 < max(rewards) < 1.1
    assert loop.train(settings) == rewards, "the seed decides everything"


@pytest.mark.slow
def test_ppo_of_our_own_learns_within_ten_thousand_steps() -> None:
    loop = _example("ppo_loop")
    first, last = _tenths(loop.train(loop.Settings(steps=10_000)))
    assert last > first + 0.1


def test_sb3_ppo_finishes_networks() -> None:
    pytest.importorskip("stable_baselines3", reason="needs the package stable-baselines3")
    rewards = _example("sb3_ppo").train(1024)
    assert len(rewards) > 60
    assert 0 < max(rewards) < 1.1


@pytest.mark.slow
def test_sb3_ppo_learns_within_ten_thousand_steps() -> None:
    pytest.importorskip("stable_baselines3", reason="needs the package stable-baselines3")
    first, last = _tenths(_example("sb3_ppo").train(10_000))
    assert last > first
