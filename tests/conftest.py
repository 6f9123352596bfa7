"""What every test shares: one thread a process, and spaces, problems and evaluators at hand."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from emnas_gym.architecture import Architecture
from emnas_gym.budgets import Budgets
from emnas_gym.evaluator import Evaluator, Result
from emnas_gym.layers import LayerSpec
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.space import SearchSpace, load_space

BUDGETS = Budgets(ram_bytes=8192, flash_bytes=32768)


@pytest.fixture(scope="session")
def space() -> SearchSpace:
    return load_space("emnas-382")


@pytest.fixture(scope="session")
def mobile() -> SearchSpace:
    return load_space("emnas-mobile-49")


@pytest.fixture(scope="session")
def problem() -> Problem:
    return Problem.make(budgets=BUDGETS)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


TINY = SearchSpace(
    "tiny",
    (
        LayerSpec("conv", 4, 3, 1, "same", "relu"),
        LayerSpec("conv", 4, 3, 2, "same", "relu"),
        LayerSpec("conv", 8, 3, 2, "valid", "sigmoid"),
        LayerSpec("depthwise", 4, 3, 2, "same", "relu"),
        LayerSpec("depthwise", 8, 3, 2, "same", "relu"),  # behaves as the one before
        LayerSpec("pad", pads=(0, 0, 0, 0)),  # does nothing
        LayerSpec("dense", units=8, activation="relu"),
        LayerSpec("dropout", rate=0.2),
        LayerSpec("output", head="dense"),
    ),
    min_layers=2,
    max_layers=5,
    first=("conv", "depthwise"),
    after={"dense": ("dense",)},
)


@pytest.fixture(scope="session")
def tiny() -> SearchSpace:
    """A space small enough for brute force, with tokens of equal and of no behaviour."""
    return TINY


@pytest.fixture(scope="session")
def tiny_problem() -> Problem:
    return Problem.make(TINY, budgets=BUDGETS)


class ByTokens(Evaluator):
    """Scores a network from its canonical tokens alone, and remembers what it was asked."""

    provides = frozenset({"accuracy", "latency_ms"})

    def __init__(self) -> None:
        self.asked: list[tuple[int, ...]] = []

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        self.asked += [architecture.canonical for architecture in batch]
        return [self.measure(architecture) for architecture in batch]

    def measure(self, architecture: Architecture) -> Result:
        accuracy = (sum(architecture.canonical) % 97) / 97
        return Measurement.of("predicted", accuracy=accuracy, latency_ms=1.0)


@pytest.fixture
def by_tokens() -> ByTokens:
    return ByTokens()


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One Ray cluster for all tests, of a board and this machine's loopback; slow to start."""
    ray = pytest.importorskip("ray", reason="needs the package ray")
    root = Path(__file__).parents[1]
    settings = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "disabled",
        "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests'}",  # as `ray start` in a checkout
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        ray.init(
            num_cpus=2,
            resources={"board:stm32f746zg": 1},
            include_dashboard=False,
            object_store_memory=80 << 20,
            _node_ip_address="127.0.0.2",  # loopback; 127.0.0.1 Ray would replace by the network's
            log_to_driver=False,
            logging_level="ERROR",
        )
        yield
        ray.shutdown()
