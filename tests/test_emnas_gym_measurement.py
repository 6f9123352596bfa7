"""Measurements and the contract of evaluators: provenance, merging, failures in their place."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from conftest import TINY, ByTokens
from hypothesis import given
from hypothesis import strategies as st

from emnas_gym import costs
from emnas_gym.analytic import AnalyticEvaluator
from emnas_gym.architecture import Architecture
from emnas_gym.budgets import Budgets
from emnas_gym.devices import devices
from emnas_gym.errors import DomainError, EmNASError, EvaluationError
from emnas_gym.evaluator import Domain, Evaluator, EvaluatorStack, Result
from emnas_gym.measurement import FIELDS, PROVENANCES, Measurement, merge
from emnas_gym.problem import Problem
from emnas_gym.tasks import DIGITS

REAL = {"accuracy", "latency_ms", "energy_mj"}


@st.composite
def measurements(draw: st.DrawFn) -> Measurement:
    values: dict[str, Any] = {}
    for name in draw(st.sets(st.sampled_from(FIELDS))):
        number = st.floats(0, 1e6) if name in REAL else st.integers(0, 10**9)
        values[name] = draw(number)
    provenance = {name: draw(st.sampled_from(PROVENANCES)) for name in values}
    feasible = draw(st.none() | st.booleans())
    seconds = draw(st.floats(0, 100))
    return Measurement(**values, feasible=feasible, seconds=seconds, provenance=provenance)


@given(measurements())
def test_json_round_trips(measurement: Measurement) -> None:
    again = Measurement.from_json(json.loads(json.dumps(measurement.to_json())))
    assert again == measurement
    assert again.seconds == measurement.seconds


@given(measurements(), measurements(), measurements())
def test_merging_is_later_wins_and_associative(
    a: Measurement, b: Measurement, c: Measurement
) -> None:
    merged = merge([a, b, c])
    assert merged == a.overridden(b.overridden(c))
    for name in FIELDS:
        known = [m for m in (c, b, a) if getattr(m, name) is not None]
        assert getattr(merged, name) == (getattr(known[0], name) if known else None)
        if known:
            assert merged.provenance[name] == known[0].provenance[name]
    assert merged.seconds == pytest.approx(a.seconds + b.seconds + c.seconds)
    assert merge([a]) == a


def test_wall_time_is_not_compared() -> None:
    assert Measurement.of("host", latency_ms=1.0, seconds=1.0) == Measurement.of(
        "host", latency_ms=1.0, seconds=2.0
    )


def test_every_field_says_where_it_comes_from() -> None:
    with pytest.raises(EmNASError, match="does not match fields"):
        Measurement(accuracy=0.5)
    with pytest.raises(EmNASError, match="does not match fields"):
        Measurement(accuracy=0.5, provenance={"accuracy": "guessed"})
    with pytest.raises(EmNASError, match="does not match fields"):
        Measurement(provenance={"accuracy": "host"})
    with pytest.raises(EmNASError, match="no such measurement: .*speed"):
        Measurement.from_json({"speed": 3})


# ------------------------------------------------------------------------------------ evaluators


class Scripted(Evaluator):
    """Answers what it is told to."""

    def __init__(self, *results: Result) -> None:
        self.results = list(results)
        self.closed = False

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        return self.results

    def close(self) -> None:
        self.closed = True


TWO = [TINY.architecture((1, 9)), TINY.architecture((2, 9))]


def test_a_batch_keeps_its_order_and_its_failures() -> None:
    failure = EvaluationError("gone")
    good = Measurement.of("host", latency_ms=1.0)
    assert Scripted(failure, good).evaluate(TWO) == [failure, good]
    assert Scripted(failure, good).evaluate([]) == []
    with pytest.raises(EvaluationError, match="Scripted: 1 results for 2"):
        Scripted(good).evaluate(TWO)


def test_a_value_that_is_no_number_is_a_failure_of_its_network() -> None:
    good = Measurement.of("host", latency_ms=1.0)
    for bad in (math.nan, math.inf, -math.inf):
        lying = Measurement.of("host", latency_ms=1.0, accuracy=bad)
        first, second = Scripted(lying, good).evaluate(TWO)
        assert isinstance(first, EvaluationError)
        assert "accuracy" in str(first)
        assert second == good


def test_a_stack_merges_row_by_row() -> None:
    failure = EvaluationError("gone")
    a = Scripted(
        Measurement.of("analytic", macs=5, latency_ms=9.0), Measurement.of("analytic", macs=6)
    )
    b = Scripted(Measurement.of("board", latency_ms=1.0), failure)
    stack = EvaluatorStack([a, b])
    first, second = stack.evaluate(TWO)
    assert first == Measurement(
        macs=5, latency_ms=1.0, provenance={"macs": "analytic", "latency_ms": "board"}
    )
    assert second is failure
    stack.close()
    assert a.closed
    assert b.closed


def test_a_stack_is_as_repeatable_as_its_parts() -> None:
    class Noisy(ByTokens):
        repeatable = False

    assert EvaluatorStack([ByTokens(), ByTokens()]).repeatable
    assert not EvaluatorStack([ByTokens(), Noisy()]).repeatable
    assert EvaluatorStack([ByTokens()]).provides == {"accuracy", "latency_ms"}


def test_a_domain_says_what_differs(tiny_problem: Problem) -> None:
    fits = Domain(TINY.fingerprint, "digits", "stm32f446re", (2, 15))
    assert fits.difference(tiny_problem) == ""
    assert Domain().difference(tiny_problem) == ""
    cases = [
        (Domain(space="0123"), "space '.*' instead of '0123'"),
        (Domain(task="grasp"), "task 'digits' instead of 'grasp'"),
        (Domain(device="nrf5340"), "device 'stm32f446re' instead of 'nrf5340'"),
        (Domain(lengths=(3, 9)), "lengths 2 to 5 instead of 3 to 9"),
        (Domain(lengths=(2, 4)), "lengths 2 to 5 instead of 2 to 4"),
        (Domain(macs=9), r"any number of MACs instead of up to 9 \(budgets=\{'macs': 9\}\)"),
    ]
    for domain, message in cases:
        assert re.fullmatch(message, domain.difference(tiny_problem))
    limited = replace(tiny_problem, budgets=Budgets(macs=5000))
    assert Domain(macs=5000).difference(limited) == ""
    assert Domain(macs=4999).difference(limited).startswith("up to 5000 MACs instead of up to 4999")
    with pytest.raises(DomainError, match="pass an object"):
        ByTokens.for_problem(tiny_problem)


# -------------------------------------------------------------------------------------- analytic


def test_analytic_values_follow_from_the_graph_and_the_line(tiny_problem: Problem) -> None:
    evaluator = AnalyticEvaluator.for_problem(tiny_problem)
    architectures = list(TINY.enumerate(DIGITS, length=3))
    for architecture, measured in zip(
        architectures, evaluator.evaluate(architectures), strict=True
    ):
        assert isinstance(measured, Measurement)
        graph = architecture.graph(DIGITS)
        assert measured.macs == costs.macs(graph)
        assert measured.params == costs.params(graph)
        assert measured.flash_bytes == costs.flash_bytes(graph)
        assert measured.ram_bytes == costs.ram_bytes(graph)
        device = tiny_problem.device
        assert device.latency_a_ms is not None
        assert device.latency_b_ms_per_mac is not None
        line = device.latency_a_ms + device.latency_b_ms_per_mac * costs.macs(graph)
        assert measured.latency_ms == pytest.approx(line)  # E3, F13
        assert set(measured.provenance.values()) == {"analytic"}


def test_energy_is_power_times_latency() -> None:  # E4
    for device in devices().values():
        evaluator = AnalyticEvaluator(DIGITS, device)
        measured = evaluator.evaluate(TWO)[0]
        assert isinstance(measured, Measurement)
        known = {name for name in FIELDS if getattr(measured, name) is not None}
        assert known == evaluator.provides
        if device.active_power_mw is not None and measured.latency_ms is not None:
            expected = device.active_power_mw * measured.latency_ms / 1000
            assert measured.energy_mj == pytest.approx(expected)
