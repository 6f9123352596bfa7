"""Batches as arrays: walks, columns, and that they say what one network at a time says."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from conftest import BUDGETS, TINY, ByTokens
from hypothesis import given, settings
from hypothesis import strategies as st

from emnas_gym import costs
from emnas_gym.analytic import AnalyticEvaluator
from emnas_gym.architecture import Architecture
from emnas_gym.budgets import Budgets
from emnas_gym.columns import Columns
from emnas_gym.errors import EvaluationError, EvaluationStopped, InvalidArchitecture
from emnas_gym.evaluator import EvaluatorStack, Result
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.registry import make_evaluator
from emnas_gym.rewards import Constrained, Exponential, Linear, Reward, WeightedProduct
from emnas_gym.space import sample_tokens
from emnas_gym.walks import Walks

PROBLEMS = {
    "EmNAS-v0": Problem.make(budgets=BUDGETS),
    "unlimited": Problem.make(budgets={}),
    "mobile": Problem.make("emnas-mobile-49", "digits", "stm32f746zg"),
    "bench": Problem.make("emnas-bench-8", budgets=BUDGETS),
    "tiny": Problem.make(TINY, budgets=BUDGETS),
}


def drawn(problem: Problem, count: int, seed: int = 0) -> list[Architecture]:
    rng, table = np.random.default_rng(seed), problem.automaton
    samplers = ("uniform-length", "walk")
    return [
        problem.space.architecture(sample_tokens(table, rng, samplers[i % 2])) for i in range(count)
    ]


@pytest.mark.parametrize("name", PROBLEMS)
def test_costs_that_walks_add_up_are_those_of_the_graph(name: str) -> None:  # A16, D6
    problem = PROBLEMS[name]
    networks = drawn(problem, 120)
    walks = Walks.of(problem.automaton, networks)
    assert walks.architectures() == networks
    evaluator = AnalyticEvaluator.for_problem(problem)
    columns = evaluator.columns(walks)
    assert columns.results() == evaluator.evaluate(networks)
    for i, network in enumerate(networks):
        graph = network.graph(problem.task)
        assert columns.values["macs"][i] == costs.macs(graph)
        assert columns.values["params"][i] == costs.params(graph)
        assert columns.values["flash_bytes"][i] == costs.flash_bytes(graph)
        assert columns.values["arena_head_bytes"][i] == costs.arena_head_bytes(graph)
        assert columns.values["ram_bytes"][i] == costs.ram_bytes(graph)


def test_walks_know_where_every_token_was_placed() -> None:
    problem = PROBLEMS["EmNAS-v0"]
    networks = drawn(problem, 20)
    walks, table = Walks.of(problem.automaton, networks), problem.automaton
    assert (walks.tokens.dtype, walks.states.dtype) == (np.int16, np.int32)
    for i, network in enumerate(networks):
        cursor = table.start()
        for j, token in enumerate(network.tokens):
            assert walks.states[i, j] == cursor.state
            table.step(cursor, token)
        assert np.array_equal(walks.spent[i], cursor.spent)
        assert (walks.states[i, len(network.tokens) :] == -1).all()
        assert not walks.tokens[i, len(network.tokens) :].any()
    some = walks.take(np.array([3, 1]))
    assert some.architectures() == [networks[3], networks[1]]
    assert (some.space, some.task, len(some)) == (problem.space, problem.task, 2)


@pytest.mark.parametrize("largest", [0, 2**40])
def test_one_row_tells_what_a_token_costs_and_where_it_leads(largest: int) -> None:
    table = copy.copy(PROBLEMS["tiny"].automaton)
    vars(table).pop("moves", None)
    table.price = table.price.copy()
    table.price[0, 1, 1] += largest
    assert table.moves.dtype == (np.int64 if largest else np.int32)
    for state, token in np.ndindex(table.next_state.shape):
        *price, following = table.moves[state * table.width + token].tolist()
        assert price == table.price[state, token].tolist()
        assert following == table.next_state[state, token]
    assert not table.fits([table.width + 1]) and not table.fits([-1])


def test_what_leaves_the_tables_is_refused() -> None:
    problem, tiny = PROBLEMS["EmNAS-v0"], PROBLEMS["tiny"]
    with pytest.raises(InvalidArchitecture, match="is not of the space tiny"):
        Walks.of(tiny.automaton, drawn(problem, 1))
    table = Problem.make(budgets={"flash_bytes": 4000}).automaton
    large = max(
        drawn(PROBLEMS["unlimited"], 30), key=lambda a: costs.flash_bytes(a.graph(tiny.task))
    )
    with pytest.raises(InvalidArchitecture, match="within these budgets"):
        Walks.of(table, [large])
    with pytest.raises(InvalidArchitecture, match="the output layer is missing"):
        problem.automaton.walk(drawn(problem, 1)[0].tokens[:-1])


# ------------------------------------------------------------------------------------- evaluators


class Failing(ByTokens):
    """Fails for every third network, and for some does not know the latency."""

    def measure(self, architecture: Architecture) -> Result:
        kind = sum(architecture.canonical) % 3
        if kind == 0:
            return EvaluationError("broken")
        return Measurement.of("board", accuracy=0.5, latency_ms=2.5 if kind == 1 else None)


def test_a_stack_merges_columns_as_it_merges_measurements() -> None:
    problem = PROBLEMS["EmNAS-v0"]
    networks = drawn(problem, 60)
    walks = Walks.of(problem.automaton, networks)
    analytic = AnalyticEvaluator.for_problem(problem)
    for parts in ([analytic, ByTokens()], [analytic, Failing()], [Failing(), analytic, ByTokens()]):
        stack = EvaluatorStack(parts)
        wanted, found = stack.evaluate(networks), stack.columns(walks).results()
        assert len(found) == 60
        for one, other in zip(wanted, found, strict=True):
            assert str(one) == str(other)


def test_surrogates_say_the_same_in_columns() -> None:
    problem = PROBLEMS["EmNAS-v0"]
    networks, evaluator = drawn(problem, 8), make_evaluator("surrogate", problem)
    columns = evaluator.columns(Walks.of(problem.automaton, networks))
    assert columns.results() == evaluator.evaluate(networks)
    for name in ("macs", "accuracy", "latency_ms"):
        assert columns.values[name].dtype == np.float64


class Stopping(ByTokens):
    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        raise EvaluationStopped("no board", [self.measure(batch[0])] + [None] * (len(batch) - 1))


def test_a_stack_that_stops_tells_what_it_knows() -> None:
    problem = PROBLEMS["tiny"]
    networks, last = drawn(problem, 4), ByTokens()
    stack = EvaluatorStack([AnalyticEvaluator.for_problem(problem), Stopping(), last])
    with pytest.raises(EvaluationStopped, match="no board") as stopped:
        stack.columns(Walks.of(problem.automaton, networks))
    known = stopped.value.results
    assert known[0].accuracy is not None
    assert known[0].macs > 0
    assert known[1:] == [None] * 3
    assert len(last.asked) == 4


class Doubled(AnalyticEvaluator):
    """A subclass that only changes how architectures are measured."""

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        return [Measurement.of("manual", macs=1, accuracy=0.25) for _ in batch]


def test_columns_follow_what_a_subclass_measures() -> None:
    problem = PROBLEMS["tiny"]
    columns = Doubled.for_problem(problem).columns(Walks.of(problem.automaton, drawn(problem, 3)))
    assert columns.values["accuracy"].tolist() == [0.25] * 3
    assert columns.provenance == {"accuracy": "manual", "macs": "manual"}


# ---------------------------------------------------------------------------------------- columns

values = st.floats(0, 1e9, allow_subnormal=False)
measurements = st.builds(
    lambda accuracy, latency, ram, feasible: Measurement.of(
        "board", accuracy=accuracy, latency_ms=latency, ram_bytes=ram, feasible=feasible
    ),
    st.floats(0, 1),
    st.none() | values,
    st.none() | st.integers(0, 2**40),
    st.none() | st.booleans(),
)
results = st.one_of(measurements, st.just(EvaluationError("broken")))


@given(st.lists(st.tuples(results, results), min_size=1, max_size=6))
def test_merging_columns_is_merging_rows(pairs: list[tuple[Result, Result]]) -> None:
    first, second = Columns.of([a for a, _ in pairs]), Columns.of([b for _, b in pairs])
    kept = first.merged(second)
    first.rows = second.rows = None
    bare = first.merged(second)
    assert sorted(kept.errors) == sorted(bare.errors)
    assert kept.values.keys() == bare.values.keys() or len(kept.errors) > 0
    for name in kept.values:
        assert np.array_equal(kept.values[name], bare.values[name], equal_nan=True)
    if len(pairs) > 1:
        assert str(kept.take([1, 0]).results()) == str([*kept.results()[1::-1]])


def test_what_is_no_number_becomes_an_error() -> None:
    column = np.array([1.0, math.inf, math.nan])
    columns = Columns({"accuracy": column, "macs": np.ones(3)}, {"accuracy": "host"}).checked("Me")
    assert sorted(columns.errors) == [1, 2]
    assert str(columns.errors[1]) == "Me measured accuracy = inf"
    assert np.isnan(columns.values["macs"]).tolist() == [False, True, True]
    assert columns.measured().tolist() == [0]


# ---------------------------------------------------------------------------------------- rewards


class Own(Linear):
    """A third party's: only the terms are its own."""

    name = "own"

    def _terms(self, measurement: Measurement) -> dict[str, float]:
        terms = {"accuracy": 0.5, "speed": 0.25}
        return terms | ({"small": 1.0} if (measurement.ram_bytes or 0) < 1000 else {})


REWARDS: list[Reward] = [
    WeightedProduct(1.1, 0.8),
    WeightedProduct(3.0, 0.1, exponent=-0.3),
    Linear(900.0),
    Exponential(70.0, 1000.0),
    Constrained(Budgets(ram_bytes=8192, latency_ms=20.0)),
    Own(1000.0),
]
complete = st.builds(
    lambda accuracy, latency, ram, feasible: Measurement.of(
        "board", accuracy=accuracy, latency_ms=latency, ram_bytes=ram, feasible=feasible
    ),
    st.floats(0, 1),
    values,
    st.integers(0, 2**40),
    st.none() | st.booleans(),
)


@settings(max_examples=300)
@given(
    st.sampled_from(REWARDS),
    st.lists(st.one_of(complete, st.just(EvaluationError("broken"))), max_size=6),
)
def test_batches_are_rewarded_bit_for_bit_as_one(reward: Reward, batch: list[Result]) -> None:
    for columns in (Columns.of(batch), Columns.of(batch)):
        found = reward.batch(columns)
        columns.rows = None
        assert found.rewards.dtype == np.float64
        assert found.vector.dtype == np.float32
        for i, result in enumerate(batch):
            if isinstance(result, EvaluationError):
                assert found.rewards[i] == reward.illegal
                assert np.isnan(found.vector[i]).all()
                continue
            scalar, terms = reward(result)
            assert found.rewards[i] == scalar
            named = {k: v[i] for k, v in found.terms.items() if not np.isnan(v[i])}
            assert named == terms
            assert np.array_equal(found.vector[i], reward.vector(result))


@given(st.lists(results, min_size=1, max_size=6))
def test_budgets_are_broken_alike(batch: list[Result]) -> None:
    budgets = Budgets(ram_bytes=2**20, latency_ms=1e5, energy_mj=1.0)
    known = [isinstance(r, Measurement) and bool(budgets.broken(r)) for r in batch]
    assert budgets.any_broken(Columns.of(batch)).tolist() == known


@pytest.mark.parametrize("reward", REWARDS[:5], ids=lambda r: r.name)
def test_batches_without_a_needed_field_are_typed_errors(reward: Reward) -> None:
    given: dict[str, Any] = {"accuracy": 0.5, "latency_ms": 1.0, "ram_bytes": 1}
    whole = Columns.of([Measurement.of("board", **given)] * 2)
    for field in [*reward.objectives, *(["ram_bytes"] if reward.name == "constrained" else [])]:
        left = Columns({k: v for k, v in whole.values.items() if k != field}, {})
        with pytest.raises(EvaluationError, match=f"needs {field}, which nothing measured"):
            reward.batch(left)
        holes = Columns(whole.values | {field: np.array([1.0, np.nan])}, {})
        with pytest.raises(EvaluationError, match=f"needs {field}, which nothing measured"):
            reward.batch(holes)
    infinite = Columns(whole.values | {"accuracy": np.array([0.5, np.inf])}, {})
    with pytest.raises(EvaluationError, match="needs a number as accuracy, not inf"):
        reward.batch(infinite)
