"""How fast the parts are on this machine, beside what others take in the same run."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.throughput.environments import measure_env
from emnas_gym.errors import UnknownName
from emnas_gym.graph import LayerGraph
from emnas_gym.memory import plan_arena
from emnas_gym.problem import Problem
from emnas_gym.registry import import_string
from hardware.export import export_float, export_int8
from hardware.interpreter import Model
from hardware.npu_compiler import compile_model
from hardware.npu_configs import CONFIGS
from hardware.program import Array
from hardware.random_weights import random_images, random_weights

ACCELERATOR = "ethos-u55-128"
CALIBRATION_IMAGES = 64
WARM_UP = 3  # networks before the first that counts: imports, caches
BY_TENSORFLOW = 5  # networks that its converter gets; it takes a second or so for each


@dataclass(frozen=True)
class Sample:
    """One network to export."""

    graph: LayerGraph
    weights: dict[str, Array]
    images: Array


def measure(
    only: str | None, networks: int, advance: Callable[[str], None], rounds: int = 7
) -> dict[str, Any]:
    """Measures the parts.

    Args:
        only: One part; all if None.
        networks: Random networks of the part ``export``.
        advance: Called with the name of a part after each network or round.
        rounds: Rounds of the parts that are timed beside each other.

    Returns:
        The figures of the part ``export`` under its name, those of the others side by side.

    Raises:
        UnknownName: If there is no such part.
    """
    figures: dict[str, Any] = {}
    for name in chosen(only):
        work = networks if name == "export" else rounds
        found = PARTS[name](work, partial(advance, name))
        figures |= {name: found} if name == "export" else found
    return figures


def rounds_of(only: str | None, networks: int, rounds: int) -> int:
    """How often `measure` calls ``advance``.

    Raises:
        UnknownName: If there is no such part.
    """
    of = {"export": networks, "env": rounds, "sb3": 2 * rounds}
    return sum(of[part] for part in chosen(only))


def chosen(only: str | None) -> list[str]:
    """The names of the parts that are measured.

    Raises:
        UnknownName: If there is no such part.
    """
    if only is not None and only not in PARTS:
        raise UnknownName("part", only, PARTS)
    return list(PARTS) if only is None else [only]


def measure_export(networks: int, advance: Callable[[], None]) -> dict[str, Any]:
    """Float and int8 files, a run in LiteRT, the arena, one Vela configuration, for each network.

    Args:
        networks: Random networks of ``emnas-382`` on digits.
        advance: Called after each.

    Returns:
        ``median_ms`` and ``p95_ms`` of all steps together, ``steps`` of each (median), and
        ``ratio_to_tensorflow``: how many times longer TensorFlow's converter takes for the int8
        file than ours does, over the same networks; None where TensorFlow is not installed.
    """
    samples = list(_samples(WARM_UP + networks))
    rows = []
    for number, sample in enumerate(samples):
        row = _export(sample)
        if number >= WARM_UP:
            rows.append(row)
            advance()
    totals = [sum(row.values()) for row in rows]
    return {
        "median_ms": float(np.median(totals)),
        "p95_ms": float(np.percentile(totals, 95)),
        "steps_ms": {step: float(np.median([row[step] for row in rows])) for step in rows[0]},
        "networks": networks,
        "calibration_images": CALIBRATION_IMAGES,
        "ratio_to_tensorflow": _ratio_to_tensorflow(samples[WARM_UP:], rows),
    }


def _measure_sb3(rounds: int, advance: Callable[[], None]) -> dict[str, Any]:
    return import_string("benchmarks.throughput.learning:measure_sb3")(rounds, advance)  # type: ignore[no-any-return]


PARTS: dict[str, Callable[[int, Callable[[], None]], dict[str, Any]]] = {
    "export": measure_export,
    "env": measure_env,
    "sb3": _measure_sb3,
}


def _samples(count: int) -> Iterable[Sample]:
    problem, rng = Problem.make(), np.random.default_rng(0)
    images = random_images(problem.task.input_shape, CALIBRATION_IMAGES)
    for seed in range(count):
        graph = problem.space.sample(rng, problem.task, problem.budgets).graph(problem.task)
        yield Sample(graph, random_weights(graph, seed), images)


def _export(sample: Sample) -> dict[str, float]:
    """Milliseconds of each step."""
    spent: dict[str, float] = {}

    def timed(step: str, work: Callable[[], Any]) -> Any:  # noqa: ANN401
        start = time.perf_counter()
        result = work()
        spent[step] = 1e3 * (time.perf_counter() - start)
        return result

    graph, weights = sample.graph, sample.weights
    timed("float", lambda: export_float(graph, weights))
    content = timed("int8", lambda: export_int8(graph, weights, sample.images))
    timed("run", lambda: Model(content).run(sample.images[:1]))
    timed("arena", lambda: plan_arena(graph.deployed()))
    timed("vela", lambda: compile_model(content, CONFIGS[ACCELERATOR]))
    return spent


def _ratio_to_tensorflow(samples: list[Sample], rows: list[dict[str, float]]) -> float | None:
    if importlib.util.find_spec("tensorflow") is None:
        return None
    from benchmarks.throughput.tensorflow_converter import convert_int8

    ours, theirs = [], []
    for number, sample in enumerate(samples[: BY_TENSORFLOW + 1]):
        start = time.perf_counter()
        convert_int8(sample.graph, sample.weights, sample.images)
        if number:  # the first one pays for imports
            theirs.append(1e3 * (time.perf_counter() - start))
            ours.append(rows[number]["int8"])
    return float(np.median(theirs) / np.median(ours))
