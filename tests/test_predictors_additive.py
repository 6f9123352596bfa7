from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone

from emnas_gym import costs
from emnas_gym.models.additive import CONSTANT, AdditiveCosts, network_terms
from emnas_gym.models.layer_terms import layer_terms
from emnas_gym.space import SearchSpace
from emnas_gym.tasks import DIGITS, GRASP
from predictors import latency_fit
from predictors.estimators.additive import AdditiveRegressor
from predictors.latency_fit import fit_latency, fit_relative_latency, predict_latency

TRUE = {
    CONSTANT: 0.5,
    "conv 3x3/1 same: macs": 1e-5,
    "conv 2x2/2 valid: out": 1e-4,
    "depthwise 3x3/1 same: in": 2e-4,
    "sigmoid: out": 3e-4,
    "dense: macs": 1e-5,
}


def _latency(space: SearchSpace, tokens: tuple[int, ...]) -> float:
    terms = network_terms(space, DIGITS, tokens, ())
    return sum(TRUE.get(name, 0.0) * amount for name, amount in terms.items())


def test_terms_count_what_the_graph_has(space: SearchSpace, rng: np.random.Generator) -> None:
    for _ in range(20):
        architecture = space.sample(rng)
        graph = architecture.graph(DIGITS)
        for details in ((), ("sigmoid", "small", "parity", "cache")):
            terms = network_terms(space, DIGITS, architecture.tokens, details)
            assert all(amount > 0 for amount in terms.values())
            counted = sum(
                v for k, v in terms.items() if k.endswith(": macs") and "cache set" not in k
            )
            assert counted == costs.macs(graph)
            sigmoids = sum(node.op == "sigmoid" for node in graph)
            assert terms.get("sigmoid: calls", 0) == sigmoids


def test_details_tell_apart_what_they_say(space: SearchSpace, mobile: SearchSpace) -> None:
    conv_2x2 = next(s for s in space.specs if str(s) == "conv 8 2×2/1 valid sigmoid")
    _, terms = layer_terms(conv_2x2, (64, 64, 32), 2, ("sigmoid", "cache"))
    assert "sigmoid after conv 2x2/1 valid: out" in terms
    macs = 63 * 63 * 8 * 4 * 32
    assert terms["conv 2x2 with 32 channels a cache set: macs"] == macs
    _, odd = layer_terms(conv_2x2, (63, 63, 32), 2, ("cache",))
    assert not any("cache set" in name for name in odd)
    strided = next(s for s in mobile.specs if str(s).startswith("conv 16 3×3/2"))
    for side, word in ((64, "even"), (63, "odd"), (7, "odd")):
        _, terms = layer_terms(strided, (side, side, 8), 2, ("small", "parity"))
        assert f"conv 3x3/2 same {word}: calls" in terms
    _, terms = layer_terms(strided, (3, 3, 8), 2, ("small", "parity"))
    assert "conv 3x3/2 same small: calls" in terms


def test_costs_are_found_again_and_never_negative(
    space: SearchSpace, rng: np.random.Generator
) -> None:
    networks = [space.sample(rng).tokens for _ in range(500)]
    y = np.array([_latency(space, tokens) for tokens in networks])
    x = [network_terms(space, DIGITS, tokens, ()) for tokens in networks]
    for relative in (False, True):
        model = AdditiveRegressor(relative=relative).fit(x[:400], y[:400])
        assert np.abs(model.predict(x[400:]) / y[400:] - 1).mean() < 0.01
        assert all(cost > 0 for cost in model.model_.costs.values())


def test_layer_by_layer_is_the_whole(space: SearchSpace, rng: np.random.Generator) -> None:
    networks = [space.sample(rng).tokens for _ in range(60)]
    y = rng.uniform(1, 100, len(networks))
    details = ("sigmoid", "cache")
    model = AdditiveRegressor(details).fit(
        [network_terms(space, GRASP, t, details) for t in networks], y
    )
    whole = predict_latency(model.model_, space, GRASP, networks)
    for tokens, expected in zip(networks, whole, strict=True):
        shape, total = GRASP.input_shape, model.model_.constant
        for token in space.canonical_tokens(tokens):
            shape, cost = model.model_.layer_cost(space.spec(token), shape, GRASP.classes)
            total += cost
        assert total == pytest.approx(expected)


def test_the_details_that_matter_are_chosen(space: SearchSpace, rng: np.random.Generator) -> None:
    networks = [space.sample(rng).tokens for _ in range(250)]
    truth = AdditiveCosts({CONSTANT: 1.0, "sigmoid after conv 3x3/1 same: out": 1e-2}, ("sigmoid",))
    y = predict_latency(truth, space, DIGITS, networks)
    model, scores = fit_latency(space, DIGITS, networks, y, ((), ("sigmoid",)))
    assert model.details == ("sigmoid",)
    assert scores["sum+sigmoid"] < scores["sum"]


def test_a_sum_is_chosen_where_it_is_true(
    space: SearchSpace, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = clone(latency_fit.READER).set_params(members=1, epochs=3)
    monkeypatch.setattr(latency_fit, "READER", quick)
    networks = [space.sample(rng).tokens for _ in range(150)]
    y = np.array([_latency(space, tokens) for tokens in networks])
    model, scores = fit_relative_latency(space, DIGITS, networks, y, ((),))
    assert isinstance(model, AdditiveCosts)
    assert set(scores) == {"sum", "recurrent"}
