"""Curves continued: exactly where a law made them, and well where networks did."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from emnas_gym.errors import EmNASError
from emnas_gym.space import SearchSpace, load_space
from emnas_gym.tasks import DIGITS
from predictors.datasets import digits
from predictors.proxies.curve_features import (
    GRAPH,
    RECIPE,
    curve_features,
    describe,
    graph_features,
)
from predictors.proxies.curves import CurveExtrapolator, r_squared
from predictors.proxies.early_stopped import LEARNED_FROM, learned_from
from predictors.proxies.known_curves import KnownCurves, has_curves, known_curves
from predictors.proxies.power_laws import LAWS, continued
from predictors.splits import is_test
from predictors.training import Recipe, train

SPACE = load_space("emnas-382")
TRUE = {
    "pow3": (0.9, 0.6, 0.8),
    "pow4": (0.95, 2.0, 1.0, 0.7),
    "exp3": (0.85, 0.35, 0.2),
    "log power": (0.9, 1.2, 1.4),
    "Weibull": (0.92, 0.1, 0.3, 0.9),
}
QUARTER = 4  # of 15 epochs


# ------------------------------------------------------------------------------------------ laws


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_each_law_recovers_its_own_curves(law: object) -> None:  # D11
    """From 8 exact points the value at epoch 60, and so the limit, is found."""
    parameters = np.array(TRUE[law.name])  # type: ignore[attr-defined]
    n = np.arange(1, 9, dtype=np.float64)
    curve = law.value(n, parameters)  # type: ignore[attr-defined]
    far = float(law.value(np.array([60.0]), parameters)[0])  # type: ignore[attr-defined]
    found = continued(curve, 60, [law])  # type: ignore[list-item]
    assert found.accuracy == pytest.approx(far, abs=5e-3)
    assert found.fits[law.name][1] < 1e-3  # type: ignore[attr-defined]


def test_families_are_weighted_by_how_well_they_fit() -> None:
    n = np.arange(1, 11, dtype=np.float64)
    curve = 0.8 - 0.6 * np.exp(-0.9 * (n - 1))
    every = continued(curve, 40)
    assert every.accuracy == pytest.approx(0.8, abs=0.01)
    errors = {name: error for name, (_, error) in every.fits.items()}
    assert errors["exp3"] < errors["pow3"] / 10, "an exponential is no power law"
    weights = {name: max(error, 1e-4) ** -2 for name, error in errors.items()}
    mean = sum(weights[name] * value for name, (value, _) in every.fits.items())
    assert every.accuracy == pytest.approx(mean / sum(weights.values()))


def test_accuracies_stay_accuracies() -> None:
    for curve in ([0.1, 0.1, 0.1, 0.1], [0.1, 0.5, 0.9, 1.0], [0.9, 0.5, 0.3, 0.1], [0.0, 0.0]):
        found = continued(curve, 15)
        assert 0 <= found.accuracy <= 1
        assert math.isfinite(found.deviation)
    with pytest.raises(EmNASError, match="at least two"):
        continued([0.3], 15)
    with pytest.raises(EmNASError, match="finite"):
        continued([0.3, math.nan], 15)


# -------------------------------------------------------------------------------------- features


def test_differences_by_hand() -> None:
    row = curve_features(np.array([[0.1, 0.4, 0.6, 0.65]]))
    expected = [0.1, 0.4, 0.6, 0.65, 0.3, 0.2, 0.05, -0.1, -0.15]
    assert row[0] == pytest.approx(expected)
    assert curve_features(np.array([[0.1]])).shape == (1, 1)
    assert curve_features(np.array([[0.1, 0.2]])).shape == (1, 3)


def test_features_of_a_network_by_hand() -> None:
    graph = SPACE.build((68, 140, 380, 382), DIGITS)  # conv 16 3×3/2, conv 32 3×3/2, dense 40
    known = dict(zip(GRAPH, graph_features(graph), strict=True))
    assert known["weighted layers"] == 4
    assert (known["convolutions"], known["dense layers"], known["sigmoids"]) == (2, 2, 0)
    first_dense = next(node for node in graph if node.op == "dense")
    assert 2 ** known["values before the first dense layer"] == math.prod(
        graph.in_shapes(first_dense)[0]
    )
    assert describe([graph, graph], Recipe()).shape == (2, len(GRAPH) + len(RECIPE))
    rates = describe([graph], Recipe(learning_rate=0.1))[0, len(GRAPH)]
    assert rates == pytest.approx(-1)


def test_every_space_can_be_described() -> None:
    rng = np.random.default_rng(0)
    for name in ("emnas-382", "emnas-mobile-49"):
        space = load_space(name)
        graphs = [space.sample(rng, DIGITS).graph(DIGITS) for _ in range(10)]
        assert np.isfinite(describe(graphs, Recipe())).all()


# --------------------------------------------------------------------------------------- learned


@pytest.fixture(scope="module")
def known() -> KnownCurves:
    return known_curves(SPACE, DIGITS)


@pytest.fixture(scope="module")
def held() -> KnownCurves:
    return known_curves(SPACE, DIGITS, test=True)


def test_the_shipped_extrapolator_learns_from_the_first_curves(known: KnownCurves) -> None:
    assert learned_from(SPACE, DIGITS).networks == known.networks[:LEARNED_FROM]
    assert len(known.networks) > LEARNED_FROM


def test_networks_are_held_out_by_architecture(known: KnownCurves, held: KnownCurves) -> None:
    mine = {SPACE.canonical_tokens(tokens) for tokens in known.networks}
    others = {SPACE.canonical_tokens(tokens) for tokens in held.networks}
    assert not mine & others
    assert all(map(is_test, others))
    assert len(held.networks) >= 100
    assert has_curves(SPACE, DIGITS, Recipe())
    assert not has_curves(SPACE, DIGITS, Recipe(epochs=3))
    assert not has_curves(load_space("emnas-mobile-49"), DIGITS, Recipe())
    assert not has_curves(_shortened(), DIGITS, Recipe()), "of that name, but another space"


def _shortened() -> SearchSpace:
    return SearchSpace(SPACE.name, SPACE.specs, 4, 9, SPACE.first, SPACE.after)


def test_a_quarter_of_the_curve_foretells_its_end(held: KnownCurves) -> None:  # D11, D12
    """R² ≥ 0.8 on held-out curves, and architecture features do not lower it."""
    known = learned_from(SPACE, DIGITS)  # as `early-stopped` does
    curves, y = held.curves[:, :QUARTER], held.curves[:, -1]
    with_features = CurveExtrapolator(known.curves, known.described)
    alone = CurveExtrapolator(known.curves)
    full = r_squared(with_features.predict(curves, held.described)[0], y)
    plain = r_squared(alone.predict(curves)[0], y)
    assert full >= 0.8
    assert plain >= 0.8
    assert full >= plain
    few = slice(0, 50)
    laws = np.array([continued(curve, 15).accuracy for curve in curves[few]])
    assert full > r_squared(laws, y[few]) + 0.1, "what others did beats a formula"


def test_a_hundred_curves_are_enough(known: KnownCurves) -> None:  # D11
    """As many as Baker et al. train on; five draws, each tested on 400 others."""
    found = []
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(known.networks))
        few, rest = known.part(order[:100]), known.part(order[100:500])
        learned = CurveExtrapolator(few.curves)
        found.append(r_squared(learned.predict(rest.curves[:, :QUARTER])[0], rest.curves[:, -1]))
    assert np.mean(found) >= 0.8, found


def test_doubt_is_honest(known: KnownCurves, held: KnownCurves) -> None:  # D13
    """Of what is said to stay at or below a bound with 95 %, about so much does."""
    learned = CurveExtrapolator(known.curves, known.described, model="trees")
    y = held.curves[:, -1]
    for epochs in (4, 8):
        curves = held.curves[:, :epochs]
        _, deviation = learned.predict(curves, held.described)
        assert (deviation > 0).all()
        for bound in (0.5, 0.8, 0.95):
            sure = learned.at_most(curves, held.described, bound) >= 0.95
            assert sure.sum() > 50
            assert (y[sure] <= bound).mean() >= 0.94
    ends = learned.at_most(held.curves[:, :4], held.described, 1.0)
    assert ends.max() == pytest.approx(200 / 201), "never quite certain"


def test_what_does_not_belong_together_is_refused(known: KnownCurves) -> None:
    learned = CurveExtrapolator(known.curves[:60], known.described[:60])
    with pytest.raises(EmNASError, match="15 epochs: give 1 to 14"):
        learned.predict(known.curves[:2], known.described[:2])
    with pytest.raises(EmNASError, match="either in the fit and here"):
        learned.predict(known.curves[:2, :4])
    with pytest.raises(EmNASError, match="descriptions of shape"):
        learned.predict(known.curves[:2, :4], known.described[:3])
    with pytest.raises(EmNASError, match="20 or more"):
        CurveExtrapolator(known.curves[:19])
    with pytest.raises(EmNASError, match="20 or more"):
        CurveExtrapolator(np.full((30, 5), np.nan))
    with pytest.raises(EmNASError, match="do not belong"):
        CurveExtrapolator(known.curves[:30], known.described[:29])


@pytest.mark.slow
def test_hyper_parameters_help_where_they_differ() -> None:  # D12
    """90 trainings of one network at random learning rates; half of each curve is seen."""
    data = replace(digits(), train_x=digits().train_x[:400], train_y=digits().train_y[:400])
    graph = SPACE.build((68, 140, 380, 382), DIGITS)
    rng = np.random.default_rng(0)
    curves, rows = [], []
    for seed in range(90):
        rate = float(10 ** rng.uniform(-4, -0.5))
        recipe = Recipe(epochs=6, learning_rate=rate, attempts=1)
        curves.append(train(graph, data, seed, recipe).curve)
        rows.append(describe([graph], recipe)[0])
    c, d = np.array(curves), np.array(rows)
    scores = {}
    for name, described in (("curve", None), ("all", d)):
        part = None if described is None else described[:60]
        learned = CurveExtrapolator(c[:60], part, choose_at=2)
        rest = None if described is None else described[60:]
        scores[name] = r_squared(learned.predict(c[60:, :2], rest)[0], c[60:, -1])
    assert scores["all"] >= scores["curve"], scores
