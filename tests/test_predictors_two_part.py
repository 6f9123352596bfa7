"""The two-part model: what it predicts, how it is stored, and that it learns what it claims."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from emnas_gym.array_file import read_arrays, write_arrays
from emnas_gym.errors import SurrogateFileError
from emnas_gym.features import lengths_of
from emnas_gym.models.base import FittedModel
from emnas_gym.models.kinds import model_class
from emnas_gym.models.two_part import TwoPart, sharpened, with_signals
from emnas_gym.space import load_space
from emnas_gym.tasks import GRASP
from predictors.accuracy_fit import layers_of
from predictors.estimators.two_part import TwoPartRegressor

SMALL = TwoPartRegressor(state=8, hidden=8, members=2, epochs=16, dropout=0.0, weight_decay=0.1)


@pytest.fixture(scope="module")
def layers() -> np.ndarray:
    """Layers of 160 networks of point convolutions, half of them with a sigmoid or more."""
    rng, space = np.random.default_rng(5), load_space("emnas-382")
    networks = []
    for i in range(160):
        tokens = (2 + 36 * rng.integers(5, size=rng.integers(3, 7))).tolist()
        if i % 2:
            tokens[int(rng.integers(len(tokens)))] -= 1
        networks.append((*tokens, 382))
    return layers_of(space, GRASP, networks)[0]


@pytest.fixture(scope="module")
def accuracy(layers: np.ndarray) -> np.ndarray:
    """Chance with a sigmoid, else the better the deeper."""
    sigmoid = np.arange(len(layers)) % 2
    reached: np.ndarray = 0.6 + 0.04 * lengths_of(layers)
    stuck = np.where(np.arange(len(layers)) % 3, 0.51, 0.49)
    return np.where(sigmoid, stuck, reached)


@pytest.fixture(scope="module")
def model(layers: np.ndarray, accuracy: np.ndarray) -> TwoPart:
    return TwoPartRegressor(**SMALL.get_params()).fit(layers, accuracy).model_


def test_it_tells_networks_that_learn_from_those_that_do_not(
    model: TwoPart, layers: np.ndarray, accuracy: np.ndarray
) -> None:
    """D15, D16."""
    probability, reached = model.outcomes(layers)
    assert probability[0::2].min() > 0.5 > probability[1::2].max()
    assert np.corrcoef(reached[0::2], accuracy[0::2])[0, 1] > 0.8
    assert np.abs(model.predict(layers)[0] - accuracy).mean() < 0.1
    assert model.chance == pytest.approx(0.51)


def test_sharpness_goes_from_the_mean_to_the_median(model: TwoPart, layers: np.ndarray) -> None:
    probability, reached = model.outcomes(layers)
    mean = model.sharper(1.0).predict(layers)[0]
    assert mean == pytest.approx(probability * reached + (1 - probability) * model.chance)
    median = np.where(probability > 0.5, reached, model.chance)
    assert model.sharper(10.0).predict(layers)[0] == pytest.approx(median, abs=0.02)
    assert sharpened(np.array([0.2, 0.5, 0.9]), 1.0) == pytest.approx([0.2, 0.5, 0.9])
    assert sharpened(np.array([0.0, 1.0]), 1.5) == pytest.approx([0, 1])


def test_expected_errors_are_those_of_outcomes_drawn_from_it(
    model: TwoPart, layers: np.ndarray, rng: np.random.Generator
) -> None:
    for sharpness in (0.75, 1.5):
        own = model.sharper(sharpness)
        probability, reached = own.outcomes(layers)
        learns = rng.random((4000, len(layers))) < probability
        drawn = reached + own.spread * rng.standard_normal(learns.shape)
        stuck = own.chance + own.chance_spread * rng.standard_normal(learns.shape)
        off = np.where(learns, drawn, stuck) - own.predict(layers)[0]
        found = own.expected(layers)
        assert found["mae"] == pytest.approx(np.abs(off).mean(), rel=0.03)
        assert found["mse"] == pytest.approx((off**2).mean(), rel=0.03)


def test_the_deviation_is_that_of_both_outcomes(model: TwoPart, layers: np.ndarray) -> None:
    probability, reached = model.outcomes(layers)
    between = probability * (1 - probability) * (reached - model.chance) ** 2
    within = probability * model.spread**2 + (1 - probability) * model.chance_spread**2
    assert model.predict(layers)[1] == pytest.approx(np.sqrt(between + within))
    assert (model.predict(layers)[1] > 0).all()


def test_equal_seeds_give_equal_bits_and_order_and_company_change_nothing(
    model: TwoPart, layers: np.ndarray, accuracy: np.ndarray
) -> None:
    again = TwoPartRegressor(**SMALL.get_params()).fit(layers, accuracy).model_
    assert (again.predict(layers)[0] == model.predict(layers)[0]).all()
    order = np.random.default_rng(0).permutation(len(layers))
    assert model.predict(layers[order])[0] == pytest.approx(model.predict(layers)[0][order])
    other = TwoPartRegressor(**SMALL.get_params() | {"seed": 4}).fit(layers, accuracy).model_
    assert (other.predict(layers)[0] != model.predict(layers)[0]).any()


def test_what_is_stored_predicts_the_same_to_the_bit(model: TwoPart, layers: np.ndarray) -> None:
    kind: type[FittedModel] = model_class(model.kind)
    again = kind.of(read_arrays(write_arrays(model.arrays())), model.options())
    for mine, theirs in zip(model.predict(layers), again.predict(layers), strict=True):
        assert (mine == theirs).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("signals", 0),
        ("chance", None),
        ("chance", 1.5),
        ("spread", math.nan),
        ("sharpness", True),
        ("sharpness", 1e9),
        ("link", "log"),
        ("link", None),
    ],
)
def test_options_from_outside_are_not_trusted(model: TwoPart, name: str, value: Any) -> None:
    with pytest.raises(SurrogateFileError):
        TwoPart.of(model.arrays(), {**model.options(), name: value})


def test_arrays_from_outside_are_not_trusted(model: TwoPart) -> None:
    arrays = model.arrays()
    broken = [
        {k: v for k, v in arrays.items() if k != "learns.out"},
        {**arrays, "third.out": arrays["learns.out"]},
        {**arrays, "out": arrays["learns.out"]},
        {**arrays, "accuracy.out": arrays["accuracy.out"] * np.nan},
        {k: v for k, v in arrays.items() if k.startswith("learns")},
        arrays | {f"learns.{n}": arrays[f"learns.{n}"][..., :-1] for n in ("centre", "scale")},
    ]
    for found in broken:
        with pytest.raises(SurrogateFileError):
            TwoPart.of(found, model.options())


def test_both_outcomes_are_needed(layers: np.ndarray) -> None:
    for y in (np.full(len(layers), 0.5), np.full(len(layers), 0.8)):
        with pytest.raises(ValueError, match="both outcomes"):
            SMALL.fit(layers, y)


def test_signals_stand_beside_the_features(layers: np.ndarray) -> None:
    both = with_signals(layers)
    assert (both[:, :, : layers.shape[2]] == layers).all()
    assert both.shape[2] > layers.shape[2]
