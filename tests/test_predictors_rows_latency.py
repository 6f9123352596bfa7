"""Latency rows: what they must reach, that nothing leaks into them, and the sums they rest on."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from data_files import EMNAS, needs
from numpy.typing import NDArray

from emnas_gym.architecture import Architecture
from emnas_gym.budgets import Budgets
from emnas_gym.errors import ShapeError, SurrogateFileError
from emnas_gym.models.additive import CONSTANT, AdditiveCosts, network_terms
from emnas_gym.problem import Problem
from emnas_gym.space import SearchSpace
from emnas_gym.surrogate import SurrogateEvaluator
from emnas_gym.tasks import GRASP
from predictors.emnas_tables import read_table, repeated_readings
from predictors.estimators.additive import AdditiveRegressor
from predictors.fitted import Figures
from predictors.latency_figures import (
    Measured,
    corrected_by_trees,
    held_out,
    interval,
    random_splits,
)
from predictors.latency_fit import absolute, predict_latency, terms_of
from predictors.rows import dataset_7, jevois, sipeed
from predictors.rows.seed_split import reached

Array = NDArray[np.float64]
OPTIONS = ((), ("kpu",))


def table(space: SearchSpace, count: int, truth: Callable[[dict[str, float]], float]) -> Measured:
    rng = np.random.default_rng(1)
    networks = [space.sample(rng).tokens for _ in range(count)]
    terms = terms_of(space, GRASP, [n for n in networks if builds(space, n)], OPTIONS)
    return Measured(terms, np.array([truth(t) for t in terms["kpu",]]))


def builds(space: SearchSpace, tokens: tuple[int, ...]) -> bool:
    try:
        Architecture(space, tokens).graph(GRASP)
    except ShapeError:
        return False
    return True


def uploads(terms: dict[str, float]) -> float:
    """A board on which only what goes in and out of the KPU takes time."""
    moved = ("upload: bytes", "upload by rows: bytes", "download: bytes")
    return 1 + 1e-4 * sum(terms.get(name, 0.0) for name in moved)


def test_figures_of_known_answers() -> None:
    measured = np.array([10.0, 20.0, 30.0, 40.0])
    found = held_out(np.array([10.5, 26.0, 25.0, 40.0]), measured)
    assert found["mae"] == pytest.approx(11.5 / 4)
    assert found["mse"] == pytest.approx((0.25 + 36 + 25) / 4)
    assert (found["within_10pct"], found["within_20pct"]) == (0.5, 0.75)
    assert found["tau"] == pytest.approx(4 / 6)
    low, mean, high = interval([1.0, 2.0, 3.0])
    assert mean == pytest.approx(2)
    assert high - mean == pytest.approx(4.302653 / math.sqrt(3), rel=1e-5)  # t of 2 freedoms
    assert mean - low == pytest.approx(high - mean)
    assert reached({"mae": 9.0, "tau": 0.95}, {"mae": 10, "tau": 0.93})
    assert not reached({"mae": 9.0, "tau": None}, {"mae": 10, "tau": 0.93})
    assert not reached({"mae": 10.1}, {"mae": 10})


def test_steps_are_chosen_where_they_are_what_takes_time(mobile: SearchSpace) -> None:
    measured = table(mobile, 150, uploads)
    model, scores = measured.fit(parts=3)
    assert model.details == ("kpu",)
    assert scores["sum+kpu"] < 0.1 * scores["sum"]
    assert absolute(measured.predict(model), measured.latency_ms) < 0.1
    splits = random_splits(measured, repeats=3, share=0.2)
    assert splits["mae"][0] <= splits["mae"][1] <= splits["mae"][2] < 1
    assert splits["tau"][1] > 0.99


def test_a_forest_corrects_what_no_sum_can_say(mobile: SearchSpace) -> None:
    crooked = table(mobile, 250, lambda t: uploads(t) ** 1.3)
    plain = crooked.part(np.arange(len(crooked.latency_ms)))
    scores = plain.fit(parts=5)[1]
    assert corrected_by_trees(crooked, ("kpu",)) < 0.9 * scores["sum+kpu"]


def test_the_order_of_rows_does_not_matter(mobile: SearchSpace) -> None:
    measured = table(mobile, 120, uploads)
    order = np.random.default_rng(2).permutation(len(measured.latency_ms))
    mixed = measured.part(order)
    x, y = measured.terms["kpu",], measured.latency_ms
    straight = AdditiveRegressor(("kpu",)).fit(x, y)
    shuffled = AdditiveRegressor(("kpu",)).fit(mixed.terms["kpu",], mixed.latency_ms)
    np.testing.assert_allclose(shuffled.predict(x), straight.predict(x), rtol=1e-3)


@pytest.mark.parametrize("details", [(), ("sigmoid",), ("patches",), ("kpu",)])
def test_more_filters_are_never_cheaper(
    space: SearchSpace, mobile: SearchSpace, rng: np.random.Generator, details: tuple[str, ...]
) -> None:
    """Whatever the costs are, as long as none is negative."""
    compared = 0
    for each in (space, mobile):
        wider = _wider(each)
        for tokens in (each.sample(rng).tokens for _ in range(40)):
            at = [i for i, token in enumerate(tokens) if token in wider]
            if not at or not builds(each, tokens):
                continue
            i = int(rng.choice(at))
            more = (*tokens[:i], wider[tokens[i]], *tokens[i + 1 :])
            few, many = (network_terms(each, GRASP, t, details) for t in (tokens, more))
            costs = AdditiveCosts({n: rng.uniform() for n in sorted(few.keys() | many)}, details)
            cost = [costs.network_cost(each, GRASP, t) for t in (tokens, more)]
            assert cost[0] <= cost[1], (tokens, more)
            compared += 1
    assert compared > 40


def _wider(space: SearchSpace) -> dict[int, int]:
    """For every convolution the same one with the next larger number of filters."""
    token_of = {spec: token for token, spec in enumerate(space.specs, 1)}
    filters = sorted({spec.filters for spec in space.specs if spec.kind == "conv"})
    following = dict(itertools.pairwise(filters))
    return {
        token: token_of[replace(spec, filters=following[spec.filters])]
        for spec, token in token_of.items()
        if spec.kind == "conv" and spec.filters in following
    }


def test_costs_by_steps_belong_to_whole_networks(mobile: SearchSpace) -> None:
    costs = AdditiveCosts({CONSTANT: 2.0, "pad: out": 1.0}, ("kpu",))
    with pytest.raises(ValueError, match="network_cost"):
        costs.layer_cost(mobile.spec(1), (16, 16, 3), 2)
    with pytest.raises(ValueError, match="can be told apart"):
        network_terms(mobile, GRASP, (1, 49), ("kpu", "parity"))
    assert AdditiveCosts.checked({"pad: out": 1}, ["kpu", "cache"]).details == ("kpu", "cache")
    with pytest.raises(SurrogateFileError, match="parity"):
        AdditiveCosts.checked({"pad: out": 1}, ["kpu", "parity"])


def test_the_evaluator_says_what_was_fitted(mobile: SearchSpace, rng: np.random.Generator) -> None:
    problem = Problem.make(
        space="emnas-mobile-49", task="grasp", device="sipeed-maix-bit", budgets=Budgets()
    )
    evaluator = SurrogateEvaluator.for_problem(problem)
    assert evaluator.latency is not None
    model = evaluator.latency.model
    assert isinstance(model, AdditiveCosts)
    assert model.details == ("kpu",)
    networks = [a for a in (mobile.sample(rng) for _ in range(30)) if builds(mobile, a.tokens)]
    expected = predict_latency(model, mobile, GRASP, [a.tokens for a in networks])
    found = [m.latency_ms for m in evaluator.evaluate(networks)]  # type: ignore[union-attr]
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_no_label_reaches_its_own_prediction(monkeypatch: pytest.MonkeyPatch) -> None:
    needs(*EMNAS)
    monkeypatch.setattr(dataset_7, "DETAILS", (("kpu",),))
    rows, own = dataset_7._table()
    assert (len(own), int(own.sum())) == (364, 314)
    held = next(f for _, f in dataset_7.folds(364, dataset_7.PARTS))
    poisoned = rows.latency_ms.copy()
    poisoned[held] *= 1000
    other = Measured(rows.terms, poisoned)
    for found, again in zip(
        dataset_7._out_of_fold(rows, own)[:2], dataset_7._out_of_fold(other, own)[:2], strict=True
    ):
        np.testing.assert_array_equal(found[held], again[held])
        assert not np.array_equal(found, again)


def test_repeated_readings_are_predicted_but_not_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    needs(*EMNAS)
    monkeypatch.setattr(dataset_7, "DETAILS", (("kpu",),))
    rows, own = dataset_7._table()
    poisoned = np.where(own, rows.latency_ms, 1e6)
    found = dataset_7._out_of_fold(rows, own)[0]
    again = dataset_7._out_of_fold(Measured(rows.terms, poisoned), own)[0]
    np.testing.assert_array_equal(found, again)
    assert (found[~own] < 5000).all()
    assert len(repeated_readings(read_table("dataset_7"))) == int((~own).sum())


def _complete(row: Figures) -> None:
    keys = "model n_train n_test mae mse tau spearman within_10pct tau_ceiling mae_floor baseline"
    for key in (*keys.split(), "seed", "target", "reached", "repeated", "tried", "seconds"):
        assert key in row, key
    assert row["mae"] < 0.5 * row["baseline"]["mae"]
    low, mean, high = row["repeated"]["mae"]
    assert low < mean < high


@pytest.mark.slow
def test_k210_row() -> None:
    needs(*EMNAS)
    row = sipeed.row()
    _complete(row)
    assert (row["n_train"], row["n_test"]) == (860, 96)
    assert row["reached"] and row["mae"] <= 10 and row["tau"] >= 0.93
    assert row["tried"]["sum+kpu+cache"] < row["tried"]["sum+sigmoid+cache+parity"]


@pytest.mark.slow
def test_jevois_row() -> None:
    needs(*EMNAS)
    row = jevois.row()
    _complete(row)
    assert (row["n_train"], row["n_test"]) == (874, 98)
    assert row["reached"] and row["mae"] <= 0.80 and row["mse"] <= 2.8
    assert 0.2 < row["mae_floor"] < 0.3 < row["mae"]
    assert row["tau"] <= row["tau_ceiling"] < 1


@pytest.mark.slow
def test_dataset_7_row() -> None:
    needs(*EMNAS)
    row = dataset_7.row()
    _complete(row)
    assert row["n_test"] == 364
    assert row["reached"] and row["mae"] <= 40 and row["within_20pct"] >= 0.6
    assert row["mae_floor"] < row["mae"] < row["mae_floor"] + 12
    assert row["read_anew"]["within_20pct"] >= 0.9
    assert row["tried"]["sum+kpu"] < 0.5 * row["tried"]["sum+small+parity"]
