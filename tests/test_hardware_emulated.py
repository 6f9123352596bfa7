"""Rewards from an emulated board: really run, counted, searched."""

from __future__ import annotations

from collections.abc import Iterator

import gymnasium as gym
import numpy as np
import pytest
from outside_programs import needs_program

import emnas_gym  # noqa: F401
from emnas_gym.errors import DomainError, EvaluationError
from emnas_gym.ledger import Ledger
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.registry import make_evaluator, resolve
from emnas_gym.space import SearchSpace
from emnas_gym.tasks import Task
from hardware.emulated import EmulatedEvaluator
from hardware.errors import DeviceLost

pytest.importorskip("serial", reason="needs the package pyserial")
pytest.importorskip("ai_edge_litert", reason="needs the package ai-edge-litert")
BUDGETS = {"ram_bytes": 8192, "flash_bytes": 32768, "macs": 2_000_000}


@pytest.fixture(scope="module")
def problem() -> Problem:
    return Problem.make(budgets=BUDGETS)


@pytest.fixture
def evaluator(problem: Problem) -> Iterator[EmulatedEvaluator]:
    needs_program("qemu-system-arm")
    made = EmulatedEvaluator.for_problem(problem)
    yield made
    made.close()


def test_make_takes_it_by_name_and_its_count_is_in_the_reward() -> None:  # E10
    needs_program("qemu-system-arm")
    env = gym.make("EmNAS-v0", evaluator=["surrogate", "emulated"], budgets=BUDGETS)
    rng = np.random.default_rng(3)
    _, info = env.reset(seed=3)
    finished = False
    while not finished:
        action = rng.choice(np.flatnonzero(info["action_mask"]))
        _, _, terminated, truncated, info = env.step(action)
        finished = terminated or truncated
    measured = info["measurement"]
    assert measured["latency_ms"] == pytest.approx(measured["instructions"] / 180e3)
    assert measured["accuracy"] > 0
    env.close()


@pytest.mark.parametrize("evaluations", [16, pytest.param(40, marks=pytest.mark.slow)])
def test_a_search_on_the_board(problem: Problem, evaluations: int) -> None:  # B3, E3, E10
    needs_program("qemu-system-arm")
    stack = make_evaluator(["surrogate", "emulated"], problem)
    ledger = Ledger(stack, problem, evaluations)
    agent = resolve("agent", "reinforce").with_options(batch=8, hidden=16, width=8)
    agent.search(problem, ledger, seed=0)
    stack.close()
    assert len(ledger.rows) == evaluations
    for row in ledger.rows:
        measured = row.result
        assert isinstance(measured, Measurement)
        assert measured.instructions
        assert measured.latency_ms == pytest.approx(measured.instructions / 180e3)
        assert measured.provenance["latency_ms"] == "emulated-insn"
        assert (measured.macs or 0) <= BUDGETS["macs"]
    assert len({row.reward for row in ledger.rows}) > 10


def test_counts_repeat_within_two_ticks(evaluator: EmulatedEvaluator, problem: Problem) -> None:
    networks = [problem.space.sample(np.random.default_rng(i), problem.task) for i in range(3)]
    first, again = evaluator.evaluate(networks), evaluator.evaluate(networks)
    for one, other in zip(first, again, strict=True):
        assert isinstance(one, Measurement)
        assert isinstance(other, Measurement)
        assert one.instructions is not None
        assert other.instructions is not None
        assert abs(one.instructions - other.instructions) <= 80
    reading = evaluator.readings[networks[0]]
    assert reading.provenance == "emulated-insn"
    assert np.ptp(reading.ticks) <= 2
    assert reading.firmware.startswith("mps2-an386 ")


def test_a_board_that_dies_is_started_again(
    evaluator: EmulatedEvaluator, problem: Problem, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = problem.space.sample(np.random.default_rng(0), problem.task)
    assert isinstance(evaluator.evaluate([network])[0], Measurement)
    driver = evaluator.farm.members[0].driver
    assert driver is not None

    def dies(*_: object) -> None:
        raise DeviceLost("the connection broke")

    monkeypatch.setattr(driver, "measure", dies)
    assert isinstance(evaluator.evaluate([network])[0], Measurement)
    assert evaluator.farm.members[0].driver is not driver


def test_what_the_board_has_no_room_for_is_said(tiny: SearchSpace) -> None:
    needs_program("qemu-system-arm")
    large = Task("large", (256, 256, 3), 2)
    evaluator = EmulatedEvaluator(large)
    network = tiny.sample(np.random.default_rng(0), large)
    result = evaluator.evaluate([network])[0]
    evaluator.close()
    assert isinstance(result, EvaluationError)
    assert "refused: larger than the memory of this slot" in str(result)


def test_a_core_that_no_emulated_board_has_is_named(problem: Problem) -> None:
    with pytest.raises(DomainError, match="no emulated board has a cortex-m55"):
        EmulatedEvaluator(problem.task, "cortex-m55")
    with pytest.raises(DomainError, match="cortex-m3, cortex-m4, cortex-m7"):
        EmulatedEvaluator.for_problem(Problem.make(device="jevois"))
