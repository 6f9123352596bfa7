"""The evaluator of this machine."""

from __future__ import annotations

import numpy as np
import pytest

from emnas_gym.architecture import Architecture
from emnas_gym.errors import EvaluationError
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.registry import resolve
from emnas_gym.space import load_space
from emnas_gym.tasks import DIGITS
from hardware.host import HostEvaluator
from hardware.random_weights import random_weights
from hardware.timing import Protocol

pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
SPACE = load_space("emnas-382")
QUICK = Protocol(rounds=3, warmup=2, block_ms=0.05)


def sampled(count: int) -> list[Architecture]:
    rng = np.random.default_rng(0)
    return [SPACE.sample(rng) for _ in range(count)]


def test_a_batch_is_timed_together() -> None:  # E3, E10
    evaluator = HostEvaluator(DIGITS, protocol=QUICK)
    batch = sampled(4)
    results = evaluator.evaluate(batch)
    assert not evaluator.repeatable
    for architecture, result in zip(batch, results, strict=True):
        assert isinstance(result, Measurement)
        assert result.provenance == {"latency_ms": "host"}
        assert result.latency_ms == evaluator.timings[architecture].latency_ms > 0
        assert result.seconds > 0
    assert evaluator.evaluate([]) == []


def test_one_failure_does_not_end_the_others() -> None:
    def weights(architecture: Architecture) -> dict[str, np.ndarray]:
        chosen = random_weights(architecture.graph(DIGITS))
        return {} if architecture == bad else chosen

    good, bad, other = sampled(3)
    results = HostEvaluator(DIGITS, weights, QUICK, int8=False).evaluate([good, bad, other])
    assert isinstance(results[1], EvaluationError)
    assert "missing" in str(results[1])
    assert isinstance(results[0], Measurement)
    assert isinstance(results[2], Measurement)


def test_a_network_that_does_not_build_is_an_evaluation_error() -> None:
    shrinking = next(
        token
        for token, spec in enumerate(SPACE.specs, 1)
        if (spec.kind, spec.kernel, spec.stride, spec.padding) == ("depthwise", 3, 3, "valid")
    )
    broken = SPACE.architecture([shrinking] * 6 + [SPACE.end_token])
    (result,) = HostEvaluator(DIGITS, protocol=QUICK).evaluate([broken])
    assert isinstance(result, EvaluationError)


def test_the_registry_knows_it() -> None:
    evaluator = resolve("evaluator", "host").for_problem(Problem.make())
    assert isinstance(evaluator, HostEvaluator)
    assert evaluator.domain.difference(Problem.make(task="grasp"))
