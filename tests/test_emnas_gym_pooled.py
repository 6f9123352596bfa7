"""Gated sums of layers: equal to the bit in every batch, by tables and without them."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from conftest import TINY

from emnas_gym.architecture import Architecture
from emnas_gym.errors import DomainError, SurrogateFileError
from emnas_gym.features import LAYER, LayerTable, layer_table
from emnas_gym.fitted import FittedEvaluator
from emnas_gym.models.gated_sums import AT_ONCE, Gates, sums
from emnas_gym.models.inputs import encode
from emnas_gym.models.pooled import (
    GRID,
    LARGEST,
    LIMIT,
    WIDEST,
    GateTable,
    PooledNetwork,
    on_grid,
)
from emnas_gym.problem import Problem
from emnas_gym.space import sample_tokens
from emnas_gym.surrogate import SurrogateEvaluator
from emnas_gym.surrogate_file import read_surrogate, shipped_folder
from emnas_gym.tasks import DIGITS
from emnas_gym.walk_rows import walk_rows
from emnas_gym.walks import Walks

SIZES = (1, 2, 7, 64, 511, 512, 513, 5000)
SHIPPED = shipped_folder() / "emnas-382_digits_accuracy.json"
PROBLEMS = {
    "digits": Problem.make(),
    "host latency too": Problem.make(device="host"),
    "mobile": Problem.make("emnas-mobile-49", "grasp", "sipeed-maix-bit"),
}


def drawn(problem: Problem, count: int, seed: int = 0) -> list[Architecture]:
    rng, table = np.random.default_rng(seed), problem.automaton
    return [problem.space.architecture(sample_tokens(table, rng)) for _ in range(count)]


def random_model(features: int = len(LAYER), outputs: int = 2, seed: int = 0) -> PooledNetwork:
    rng = np.random.default_rng(seed)

    def some(*shape: int) -> np.ndarray:
        return on_grid(rng.normal(size=shape) / shape[0] ** 0.5)

    return PooledNetwork(
        centre=np.zeros(features),
        scale=np.ones(features),
        read=some(features, 6),
        read_bias=some(6),
        gate=some(6, 10),
        gate_bias=some(10),
        first=some(5, 7),
        first_bias=some(7),
        second=some(7, 7),
        second_bias=some(7),
        out=some(7, outputs),
        out_bias=some(outputs),
        link="identity",
    )


@pytest.fixture(scope="module")
def many() -> Walks:
    problem = PROBLEMS["digits"]
    return Walks.of(problem.automaton, drawn(problem, 5000, seed=3))


@pytest.fixture(scope="module")
def shipped() -> PooledNetwork:
    model = read_surrogate(SHIPPED).model
    assert isinstance(model, PooledNetwork)
    return model


# ------------------------------------------------------------------------------- equal bits


def test_scores_do_not_depend_on_the_batch(shipped: PooledNetwork, many: Walks) -> None:
    """Nothing is rounded here: the products themselves are exact."""
    found = walk_rows(many.automaton)
    rows = found.of(many)
    gates = GateTable(shipped).of(found.table)
    whole = shipped.scores(gates, rows)
    rng = np.random.default_rng(0)
    for size in SIZES:
        for start in (0, 5000 - size):
            part = shipped.scores(gates, rows[start : start + size])
            assert (part == whole[start : start + size]).all(), size
        order = rng.permutation(5000)[:size]
        assert (shipped.scores(gates, rows[order]) == whole[order]).all(), size


def test_measurements_do_not_depend_on_the_batch(many: Walks) -> None:
    evaluator = SurrogateEvaluator.for_problem(PROBLEMS["digits"])
    whole = evaluator.columns(many).values["accuracy"]
    networks = many.architectures()
    rng = np.random.default_rng(1)
    for size in SIZES:
        order = rng.permutation(5000)[:size]
        assert (evaluator.columns(many.take(order)).values["accuracy"] == whole[order]).all()
        if size < 600:
            one_by_one = evaluator.evaluate([networks[i] for i in order])
            assert [m.accuracy for m in one_by_one] == whole[order].tolist()  # type: ignore[union-attr]


def test_tables_and_layers_give_equal_bits(shipped: PooledNetwork, many: Walks) -> None:
    some = many.take(slice(0, 700))
    found = walk_rows(some.automaton)
    rows = found.of(some)
    by_table = shipped.both(GateTable(shipped).of(found.table), rows)
    layers = encode("layers", some.architectures(), DIGITS)
    for first, second in zip(by_table, shipped.predict(layers), strict=True):
        assert (first == second).all()
    counted = shipped.predict(layers, some.lengths)
    assert (counted[0] == by_table[0]).all()


def test_products_are_exact_at_their_worst() -> None:
    """The largest values on the grid, as many as are allowed: the sum loses no bit."""
    rng = np.random.default_rng(0)
    values = LIMIT - rng.integers(0, 3, size=(3, WIDEST)) / GRID
    weights = LARGEST - rng.integers(0, 3, size=(WIDEST, 2)) / GRID
    product = values @ weights
    for i, j in np.ndindex(product.shape):
        pairs = zip(values[i].tolist(), weights[:, j].tolist(), strict=True)
        assert sum(Fraction(a) * Fraction(b) for a, b in pairs) == Fraction(product[i, j])


def test_a_table_that_grows_keeps_its_bits(shipped: PooledNetwork, many: Walks) -> None:
    table, grown = LayerTable(many.space, DIGITS), GateTable(shipped)
    assert len(grown.of(table)) == 1
    for network in many.take(slice(0, 40)).architectures():
        table.walk(network.canonical)
        assert len(grown.of(table)) == len(table.described())
    whole, parts = GateTable(shipped).of(table), grown.of(table)
    assert (parts.keep == whole.keep).all()
    assert (parts.add == whole.add).all()


def test_another_table_has_other_rows(shipped: PooledNetwork, many: Walks) -> None:
    """As in another process, which meets other layers first."""
    networks = many.take(slice(0, 40)).architectures()
    evaluator = FittedEvaluator(SHIPPED)
    expected = evaluator.evaluate(networks)
    layer_table.cache_clear()
    assert evaluator.evaluate(networks[::-1]) == expected[::-1]
    gates = GateTable(shipped)
    for order in (networks, networks[::-1]):
        table = LayerTable(many.space, DIGITS)
        rows = table.rows([table.walk(a.canonical) for a in order])
        found = shipped.means(gates.of(table), rows).round(9).tolist()
        values = dict(zip(order, found, strict=True))
        assert [values[a] for a in networks] == [m.accuracy for m in expected]  # type: ignore[union-attr]


# --------------------------------------------------------------------------- what it computes


def test_a_sum_is_what_its_definition_says() -> None:
    model = random_model()
    layers = np.random.default_rng(1).normal(size=(4, len(LAYER)))
    gates = model.gates(layers)
    keep, add = gates.keep, gates.add
    assert ((keep > 0) & (keep < 1)).all()
    state = np.zeros(5, dtype=np.float32)
    for k, a in zip(keep, add, strict=True):
        state = k * state + a
    pairs = [(keep[i] * keep[i + 1], add[i] * keep[i + 1] + add[i + 1]) for i in (0, 2)]
    total = pairs[0][1] * pairs[1][0] + pairs[1][1]
    np.testing.assert_allclose(total, state, rtol=1e-5, atol=1e-6)
    hidden = on_grid(total)
    for weight, bias in ((model.first, model.first_bias), (model.second, model.second_bias)):
        hidden = on_grid((hidden @ weight + bias).clip(0, LIMIT))
    expected = hidden @ model.out + model.out_bias
    found = model.scores(model.no_layer().joined(gates), np.array([[1, 2, 3, 4]]))
    assert (found[0] == expected).all()
    mean, deviation = model.predict(layers[None], np.array([4]))
    assert mean == expected[0]
    assert deviation == pytest.approx(np.exp(expected[1]))


def by_strides(gates: Gates, row: list[int]) -> np.ndarray:
    """The sum of one network as it is defined: neighbours pair up, then neighbouring pairs."""
    steps = [(gates.keep[i], gates.add[i]) for i in row]
    while len(steps) > 1:
        pairs = zip(steps[::2], steps[1::2], strict=False)
        joined = [(k1 * k2, a1 * k2 + a2) for (k1, a1), (k2, a2) in pairs]
        steps = joined + steps[len(steps) - len(steps) % 2 :]
    return steps[0][1]


@pytest.mark.parametrize("length", [1, 2, 3, 5, 8, 11, 15, 16, 21])
def test_neighbours_pair_up_however_places_are_laid_out(length: int) -> None:
    rng = np.random.default_rng(length)
    keep, add = rng.random((40, 6), np.float32), rng.normal(size=(40, 6)).astype(np.float32)
    gates, rows = Gates(keep, add), rng.integers(0, 40, size=(AT_ONCE + 3, length))
    found = sums(gates, rows)
    for i in (0, 1, 2, AT_ONCE - 1, AT_ONCE, AT_ONCE + 2):
        assert (found[i] == by_strides(gates, rows[i].tolist())).all()


def test_order_counts_and_no_layer_changes_nothing() -> None:
    model = random_model()
    layers = np.random.default_rng(1).normal(size=(3, len(LAYER)))
    gates = model.no_layer().joined(model.gates(layers))
    plain = model.scores(gates, np.array([[1, 2, 3]]))
    for ends in range(6):
        assert (model.scores(gates, np.array([[1, 2, 3, *[0] * ends]])) == plain).all()
    gaps = model.scores(gates, np.array([[0, 1, 2, 0, 3, 0, 0]]))  # other pairs, other rounding
    np.testing.assert_allclose(gaps, plain, atol=1e-4)
    assert (model.scores(gates, np.array([[3, 2, 1]])) != plain).any()


def test_without_a_learned_deviation_there_is_none() -> None:
    model = random_model(outputs=1)
    layers = np.random.default_rng(1).normal(size=(6, 3, len(LAYER)))
    assert (model.predict(layers, np.full(6, 3))[1] == 0).all()
    assert model.predict(np.zeros((0, 3, len(LAYER))))[0].shape == (0,)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("read", lambda a: a + 0.3 / GRID),
        ("gate", lambda a: a + 2 * LARGEST),
        ("second", lambda a: a[:, :-1]),
        ("out", lambda a: np.repeat(a, 2, axis=1)),
        ("out_bias", lambda a: a[:1]),
        ("gate_bias", lambda a: np.full_like(a, np.nan)),
        ("first", lambda a: a[0]),
        ("read", lambda a: np.zeros((WIDEST + 1, 6))),
        ("first", lambda a: np.zeros((WIDEST + 1, 7))),
        ("scale", np.zeros_like),
        ("centre", lambda a: a[:-1]),
    ],
)
def test_arrays_of_which_sums_would_not_be_exact_are_refused(name: str, change: object) -> None:
    model = random_model()
    arrays = model.arrays()
    assert PooledNetwork.of(arrays, model.options()).arrays().keys() == arrays.keys()
    with pytest.raises(SurrogateFileError):
        PooledNetwork.of(arrays | {name: change(arrays[name])}, model.options())  # type: ignore[operator]


# --------------------------------------------------------------------------------- evaluators


@pytest.mark.parametrize("name", PROBLEMS)
def test_columns_are_what_evaluate_says(name: str) -> None:
    problem = PROBLEMS[name]
    evaluator = SurrogateEvaluator.for_problem(problem)
    networks = drawn(problem, 80)
    walks = Walks.of(problem.automaton, networks)
    assert evaluator.columns(walks).results() == evaluator.evaluate(networks)


@pytest.mark.parametrize("field", ["accuracy", "host_latency_ms"])
def test_no_object_is_made_for_a_network(
    field: str, many: Walks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for sums of layers, nor for ensembles that read layers one after the other."""
    shipped = read_surrogate(shipped_folder() / f"emnas-382_digits_{field}.json")
    some = many.take(slice(0, 30))
    expected = FittedEvaluator(shipped).evaluate(some.architectures())
    monkeypatch.setattr(Walks, "architectures", lambda self: pytest.fail("made objects"))
    assert FittedEvaluator(shipped).columns(some).results() == expected


@pytest.mark.parametrize("space", [TINY, PROBLEMS["mobile"].space], ids=lambda s: s.name)
def test_rows_are_those_of_the_canonical_tokens(space: object) -> None:
    """Both have tokens without effect and tokens of equal behaviour."""
    problem = Problem.make(space)  # type: ignore[arg-type]
    networks = drawn(problem, 200)
    table = layer_table(problem.space, problem.task)
    rows = walk_rows(problem.automaton).of(Walks.of(problem.automaton, networks))
    assert (rows == table.rows([table.walk(a.canonical) for a in networks])).all()
    assert any(len(a.canonical) < len(a.tokens) for a in networks)


def test_rows_of_shorter_walks_are_as_wide_as_the_space() -> None:
    problem = Problem.make(max_layers=6)
    networks = drawn(problem, 20)
    rows = walk_rows(problem.automaton).of(Walks.of(problem.automaton, networks))
    assert rows.shape == (20, 15)
    evaluator = SurrogateEvaluator.for_problem(problem)
    walks = Walks.of(problem.automaton, networks)
    assert evaluator.columns(walks).results() == evaluator.evaluate(networks)


def test_walks_from_outside_the_domain_are_refused_in_batches_too() -> None:
    evaluator = FittedEvaluator(SHIPPED)
    mobile = Problem.make("emnas-mobile-49", "digits")
    with pytest.raises(DomainError, match="emnas-mobile-49"):
        evaluator.columns(Walks.of(mobile.automaton, drawn(mobile, 3)))
    short = FittedEvaluator(replace(read_surrogate(SHIPPED), lengths=(4, 5)))
    digits = PROBLEMS["digits"]
    with pytest.raises(DomainError, match="instead of 4 to 5"):
        short.columns(Walks.of(digits.automaton, drawn(digits, 40)))
    nothing = Walks.of(digits.automaton, drawn(digits, 1)).take(slice(0, 0))
    assert len(evaluator.columns(nothing)) == 0


def test_an_evaluator_in_use_can_be_copied_and_sent(many: Walks) -> None:
    evaluator = FittedEvaluator(SHIPPED)
    some = many.take(slice(0, 20))
    expected = evaluator.columns(some).values["accuracy"]
    for again in (copy.deepcopy(evaluator), pickle.loads(pickle.dumps(evaluator))):
        assert (again.columns(some).values["accuracy"] == expected).all()
