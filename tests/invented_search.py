"""What a search writes, with invented accuracies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from emnas_gym.analytic import AnalyticEvaluator
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.rendering.boxes import describe
from emnas_gym.space import sample_tokens


def make_summary(evaluations: int = 300, space: str = "emnas-382") -> dict[str, Any]:
    """A summary as the search writes it, with invented accuracies."""
    rng = np.random.default_rng(4)
    problem = Problem.make(space, budgets={"ram_bytes": 8192, "flash_bytes": 32768})
    agent, networks = _search(problem, rng, evaluations, skill=0.12)
    randoms = {
        name: _search(problem, rng, evaluations, skill)[0]
        for name, skill in (("uniform-length", 0.0), ("walk", -0.05))
    }
    for run in randoms.values():
        run["best"] = max(r for r in run["curve"] if r is not None)
    winners = [
        _winner(problem, rank, tokens, measurement, rng)
        for rank, (tokens, measurement) in enumerate(networks[:5], 1)
    ]
    best = {
        k: winners[1][k] for k in ("tokens", "layers", "reward", "terms", "measurement", "graph")
    }
    return {
        "problem": problem.to_json(),
        "device": dict(vars(problem.device)),
        "evaluator": "surrogate",
        "agent": {"name": "reinforce", "config": {"batch_size": 16, "learning_rate": 0.01}},
        "seed": 0,
        "evaluations": evaluations,
        "distinct": evaluations - 41,
        "failed": 3,
        "seconds": 71.3,
        "command": "python -m benchmarks search --env EmNAS-v0 --agent reinforce --evaluations "
        f"{evaluations} --seed 0 --verify 5 --out runs/first",
        "versions": {"python": "3.11.7", "emnas-gym": "0.1.0", "numpy": "2.4.6", "torch": "2.9"},
        "created": "2025-01-31T12:00:00+00:00",
        **agent,
        "random": randoms,
        "best": best,
        "winners": winners,
        "export": {
            "file": "winner.tflite",
            "bytes": 14312,
            "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            "c_array": "winner.h",
            "float_accuracy": 0.9711,
            "int8_accuracy": 0.9694,
            "agreement": 0.9917,
            "rank": 2,
            "interpreter": "LiteRT 2.1",
            "arena_head_bytes": best["measurement"]["arena_head_bytes"],
            "ram_bytes": best["measurement"]["ram_bytes"],
            "flash_bytes": 14312,
        },
        "random_verified": {"accuracy": [0.951, 0.949, 0.962], "mean": 0.954, "reward": 0.9581},
        "notes": ["Images were resized from 8×8 to 16×16."],
    }


def _search(
    problem: Problem, rng: np.random.Generator, count: int, skill: float
) -> tuple[dict[str, Any], list[tuple[tuple[int, ...], Measurement]]]:
    analytic = AnalyticEvaluator.for_problem(problem)
    found: list[tuple[float, tuple[int, ...], Measurement]] = []
    curve: list[float | None] = []
    points = []
    pool = [problem.space.architecture(sample_tokens(problem.automaton, rng)) for _ in range(40)]
    for i in range(count):
        if i in (7, 70, 71):
            curve.append(None)
            continue
        architecture = pool[int(rng.integers(len(pool)))]
        measured = analytic.evaluate([architecture])[0]
        assert isinstance(measured, Measurement)
        assert measured.macs is not None
        size = math.tanh(math.log10(max(measured.macs, 1000)) - 2.6)
        learned = skill * i / count
        accuracy = min(max(0.72 * size + 0.25 + learned + rng.normal(0, 0.09), 0.1), 0.985)
        accuracy -= abs(rng.normal(0, 0.006))
        measured = measured.overridden(Measurement.of("predicted", accuracy=accuracy))
        reward = problem.reward(measured)[0]
        curve.append(reward)
        points.append([measured.latency_ms, accuracy])
        found.append((reward, architecture.tokens, measured))
    found.sort(key=lambda item: -item[0])
    distinct = {tokens: m for _, tokens, m in reversed(found)}
    ranked = sorted(distinct.items(), key=lambda item: -problem.reward(item[1])[0])
    return {"curve": curve, "points": points}, ranked


def _winner(
    problem: Problem,
    rank: int,
    tokens: tuple[int, ...],
    measurement: Measurement,
    rng: np.random.Generator,
) -> dict[str, Any]:
    architecture = problem.space.architecture(tokens)
    reward, terms = problem.reward(measurement)
    assert measurement.accuracy is not None
    seeds = measurement.accuracy - 0.012 + rng.normal(0, 0.006, 3)
    return {
        "rank": rank,
        "tokens": list(tokens),
        "layers": [str(layer) for layer in architecture.layers],
        "reward": reward,
        "terms": terms,
        "measurement": measurement.to_json(),
        "graph": describe(architecture.graph(problem.task).deployed()),
        "verified": {
            "accuracy": [float(s) for s in seeds],
            "mean": float(seeds.mean()),
            "std": float(seeds.std(ddof=1)),
            "reward": reward - 0.012,
        },
        "int8": {
            "accuracy": float(seeds.mean()) - 0.002,
            "float_accuracy": float(seeds.mean()),
            "flash_bytes": 14312 + 100 * rank,
            "file": "winner.tflite" if rank == 2 else None,
        },
    }
