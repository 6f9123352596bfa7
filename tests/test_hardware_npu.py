"""The evaluator of an Ethos-U."""

from __future__ import annotations

import numpy as np
import pytest

from emnas_gym.errors import DomainError, EvaluationError
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.registry import resolve
from emnas_gym.space import load_space
from emnas_gym.tasks import DIGITS
from hardware.npu import NpuEvaluator

pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
pytest.importorskip("ethosu.regor", reason="needs the package ethos-u-vela")
SPACE = load_space("emnas-382")
BATCH = [SPACE.sample(np.random.default_rng(seed)) for seed in range(3)]


def test_cycles_and_latency_are_repeatable() -> None:
    evaluator = NpuEvaluator(DIGITS)
    first, second = evaluator.evaluate(BATCH), evaluator.evaluate(BATCH)
    assert first == second
    assert evaluator.repeatable
    for result in first:
        assert isinstance(result, Measurement)
        assert set(result.provenance) == evaluator.provides
        assert set(result.provenance.values()) == {"analytic"}
        assert result.feasible is True
        assert result.npu_cycles is not None
        assert result.latency_ms == pytest.approx(result.npu_cycles / 500e3)


def test_the_budgets_decide_what_is_feasible() -> None:
    for budgets in ({"ram_bytes": 64}, {"flash_bytes": 64}):
        problem = Problem.make(device="ethos-u55-128", budgets=budgets)
        (result,) = NpuEvaluator.for_problem(problem).evaluate(BATCH[:1])
        assert isinstance(result, Measurement)
        assert result.feasible is False


def test_the_clock_is_the_devices() -> None:
    (slow,) = NpuEvaluator(DIGITS, clock_mhz=100.0).evaluate(BATCH[:1])
    assert isinstance(slow, Measurement) and slow.npu_cycles is not None
    assert slow.latency_ms == pytest.approx(slow.npu_cycles / 100e3)


def test_missing_weights_are_an_evaluation_error() -> None:
    (result,) = NpuEvaluator(DIGITS, weights=lambda _: {}).evaluate(BATCH[:1])
    assert isinstance(result, EvaluationError)
    assert "missing" in str(result)


def test_a_device_without_an_npu_is_outside_its_domain() -> None:
    with pytest.raises(DomainError, match="stm32f446re has no NPU"):
        resolve("evaluator", "npu").for_problem(Problem.make())
