"""What importing costs: the ground floor needs numpy and gymnasium, nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {
    "torch", "matplotlib", "sklearn", "scipy", "typer", "rich", "click", "jinja2", "PIL",
    "stable_baselines3", "sb3_contrib", "ai_edge_litert", "flatbuffers", "ethosu", "tensorboard",
    "serial", "pandas", "pyarrow",
}  # fmt: skip

LOADED = """
import json, sys
{code}
print(json.dumps(sorted({{name.partition(".")[0] for name in sys.modules}})))
"""


def _loaded(code: str) -> set[str]:
    command = [sys.executable, "-c", LOADED.format(code=code)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_package_imports_nothing_heavy() -> None:
    assert _loaded("import emnas_gym") & HEAVY == set()


def test_an_episode_needs_only_numpy_and_gymnasium() -> None:
    """Through the whole path of an episode, with costs that follow from shapes alone."""
    code = """
import numpy as np
import gymnasium as gym
import emnas_gym
from emnas_gym.evaluator import Evaluator
from emnas_gym.measurement import Measurement

class Half(Evaluator):
    provides = frozenset({"accuracy"})
    def _evaluate(self, batch):
        return [Measurement.of("predicted", accuracy=0.5) for _ in batch]

env = gym.make("EmNAS-v0", evaluator=["analytic", Half()], render_mode="ansi")
rng = np.random.default_rng(0)
observation, info = env.reset(seed=0)
over = False
while not over:
    action = rng.choice(np.flatnonzero(info["action_mask"]))
    observation, reward, over, truncated, info = env.step(action)
assert "output" in env.render()
assert info["feasible"]
"""
    assert _loaded(code) & HEAVY == set()


@pytest.mark.parametrize("folder", ["hardware", "predictors", "agents", "benchmarks"])
def test_importing_a_folder_alone_costs_nothing(folder: str) -> None:
    assert _loaded(f"import {folder}") & HEAVY == set()


def test_the_hardware_floor_has_no_torch() -> None:
    modules = [
        "hardware." + path.stem
        for path in sorted((ROOT / "hardware").glob("*.py"))
        if not path.stem.startswith("__")
    ]
    loaded = _loaded("".join(f"import {name}\n" for name in modules))
    assert not loaded & {"torch", "sklearn", "stable_baselines3"}
