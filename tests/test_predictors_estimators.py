from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau
from sklearn.base import clone

from emnas_gym.features import LAYER, layer_table, lengths_of, network_features
from emnas_gym.models.ensemble import link, unlink
from emnas_gym.space import SearchSpace
from emnas_gym.tasks import DIGITS
from predictors.accuracy_fit import fit_accuracy, log_loss, predict
from predictors.estimators.ensemble import EnsembleRegressor
from predictors.estimators.recurrent import RecurrentRegressor, _Member

Data = tuple[np.ndarray, np.ndarray]
SMALL = {
    "recurrent": RecurrentRegressor(state=8, hidden=8, members=2, epochs=20, batch_size=24),
    "features": EnsembleRegressor(hidden=(16,), members=2, epochs=12),
}


@pytest.fixture(scope="module")
def data(space: SearchSpace) -> Data:
    """Layers of 400 networks, and an accuracy that falls with sigmoids and small last maps."""
    rng = np.random.default_rng(3)
    batch = [space.sample(rng) for _ in range(400)]
    table = layer_table(space, DIGITS)
    layers, _ = table.gather([table.walk(a.canonical) for a in batch])
    lengths = lengths_of(layers)
    sigmoids = layers[:, :, LAYER.index("sigmoid")].sum(axis=1)
    flat = layers[np.arange(400), lengths - 1, LAYER.index("in")]
    score = 1 - 0.5 * sigmoids + 0.3 * flat
    return layers, 1 / (1 + np.exp(-score))


def _inputs(name: str, layers: np.ndarray) -> np.ndarray:
    return layers if name == "recurrent" else network_features(layers, lengths_of(layers))


@pytest.mark.parametrize("name", SMALL)
def test_learns_what_can_be_learned(name: str, data: Data) -> None:
    layers, y = data
    x = _inputs(name, layers)
    model = clone(SMALL[name]).fit(x[:300], y[:300])
    assert kendalltau(model.predict(x[300:]), y[300:]).statistic > 0.75


@pytest.mark.parametrize("name", SMALL)
def test_equal_seeds_give_equal_bits(name: str, data: Data) -> None:
    layers, y = data
    x = _inputs(name, layers)[:60]
    first, second = (clone(SMALL[name]).set_params(epochs=2).fit(x, y[:60]) for _ in range(2))
    torch.manual_seed(99)
    other = clone(SMALL[name]).set_params(epochs=2, seed=1).fit(x, y[:60])
    assert (first.predict(x) == second.predict(x)).all()
    assert (first.predict(x) != other.predict(x)).any()


def test_numpy_computes_what_torch_computes(data: Data) -> None:
    layers, y = data
    model = RecurrentRegressor(state=8, hidden=8, members=1, epochs=1, dropout=0.0)
    ensemble = model.fit(layers[:50], y[:50]).ensemble_
    torch.manual_seed(0)
    member = _Member(layers.shape[2], 8, 8, 0.0).double()
    weights = {
        "unit.weight_ih_l0": ensemble.read[0].T,
        "unit.bias_ih_l0": ensemble.read_bias[0, 0],
        "unit.weight_hh_l0": ensemble.keep[0].T,
        "unit.bias_hh_l0": ensemble.keep_bias[0, 0],
        "between.weight": ensemble.between[0].T,
        "between.bias": ensemble.between_bias[0, 0],
        "out.weight": ensemble.out[0].T,
        "out.bias": ensemble.out_bias[0, 0],
    }
    member.load_state_dict({k: torch.tensor(v) for k, v in weights.items()})
    lengths = lengths_of(layers)
    standard = torch.tensor((layers - ensemble.centre) / ensemble.scale)
    with torch.no_grad():
        expected = member(standard, torch.from_numpy(lengths)).numpy()
    assert ensemble.scores(layers, lengths)[0] == pytest.approx(expected, abs=1e-12)


def test_features_out_of_range_are_taken_at_its_end(data: Data) -> None:
    layers, y = data
    x = _inputs("features", layers)
    model = clone(SMALL["features"]).fit(x, y)
    assert (model.predict(x * 1e6) == model.predict(x * 1e9)).all()


def test_links_are_inverse_and_bounded() -> None:
    shares = np.linspace(0, 1, 11)
    assert unlink("logit", link("logit", shares)) == pytest.approx(shares)
    assert unlink("log", link("log", shares + 0.1)) == pytest.approx(shares + 0.1)
    assert unlink("logit", np.array([-50.0, 50.0])).tolist() == [0.0, 1.0]


def test_the_better_estimator_is_fitted(data: Data) -> None:
    layers, y = data
    options = {"features": SMALL["features"], "linear": EnsembleRegressor((), members=2, epochs=1)}
    parts = (layers, lengths_of(layers))
    model, scores = fit_accuracy(parts, y, options)
    assert scores["features"] < scores["linear"]
    assert predict(model, parts).shape == (400,)
    yes = (y > np.median(y)).astype(float)
    model, scores = fit_accuracy(parts, yes, options, yes_or_no=True)
    right = ((predict(model, parts) > 0.5) == (yes > 0)).mean()
    assert right > 0.8
    assert log_loss(np.array([0.9, 0.1]), np.array([1.0, 0.0])) == pytest.approx(-np.log(0.9))
