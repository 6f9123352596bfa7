from __future__ import annotations

import numpy as np
import pytest
import torch
from data_files import needs
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator

from emnas_gym.errors import ShapeError, SurrogateFileError
from emnas_gym.models.ranking import Ranking
from predictors.cells.features import way_statistics
from predictors.cells.splits import isomorphism_safe
from predictors.cells.tables import ACCURACIES, read_accuracies, read_cells
from predictors.estimators.pairwise import PairwiseRanker, pairwise_loss
from predictors.metrics import ranks
from predictors.rows.cell_figures import interval

QUICK = PairwiseRanker(hidden=16, members=2, steps=80)


def _tau(predicted: np.ndarray, measured: np.ndarray) -> float:
    return ranks(predicted, measured)["tau"] or 0.0


def _known(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    x = rng.normal(size=(count, 5))
    return x, x[:, 0] + 0.5 * x[:, 1] ** 2


def test_the_loss_is_that_of_every_pair() -> None:
    scores = torch.tensor([[0.3, -1.0, 2.0], [0.0, 0.0, 0.0]])
    targets = torch.tensor([1.0, 2.0, 1.0])  # the second is better than both, which are equal
    expected = np.mean([np.log1p(np.exp(1.0 + 0.3)), np.log1p(np.exp(1.0 + 2.0))]) + np.log(2)
    assert float(pairwise_loss(scores, targets)) == pytest.approx(expected, rel=1e-6)
    assert float(pairwise_loss(scores, torch.ones(3))) == 0.0


def test_a_known_order_is_found_again(rng: np.random.Generator) -> None:  # B18
    x, y = _known(rng, 220)
    stretched = np.exp(3 * y)  # the order is all that is left of the values
    model = clone(QUICK).set_params(hidden=32, steps=100).fit(x[:150], stretched[:150])
    assert _tau(model.predict(x[150:]), y[150:]) > 0.85


def test_only_the_order_of_the_values_matters(rng: np.random.Generator) -> None:
    x, y = _known(rng, 60)
    bare = clone(QUICK).set_params(calibrate=False)
    np.testing.assert_array_equal(
        clone(bare).fit(x, y).predict(x), clone(bare).fit(x, 2 * y**3 + y).predict(x)
    )


def test_calibration_keeps_the_order_and_meets_the_scale(rng: np.random.Generator) -> None:
    x, y = _known(rng, 150)
    y = 100 + 20 * y
    scores = clone(QUICK).set_params(calibrate=False).fit(x, y).predict(x)
    model = clone(QUICK).fit(x, y)
    assert (np.diff(model.predict(x)[np.argsort(scores)]) >= 0).all()
    assert np.abs(model.predict(x) - y).mean() < 0.5 * np.abs(y - np.median(y)).mean()
    mean, deviation = model.predict(x, return_std=True)
    assert mean.min() >= y.min() - 1e-4 and mean.max() <= y.max() + 1e-4 and (deviation >= 0).all()


def test_rules_of_estimators_are_kept() -> None:
    check_estimator(PairwiseRanker(hidden=8, members=1, steps=30, learning_rate=0.05))


def test_arrays_make_the_same_model_and_damaged_ones_none(rng: np.random.Generator) -> None:
    x, y = _known(rng, 60)
    model = clone(QUICK).fit(x, y).model_
    assert isinstance(model, Ranking)
    stored = {name: array.astype(np.float32) for name, array in model.arrays().items()}
    np.testing.assert_array_equal(Ranking.of(stored, {}).predict(x), model.predict(x))
    falling = model.arrays()["values"][::-1]
    for change in (
        {"values": falling},
        {"knots": np.zeros(len(falling))},
        {"out": np.full_like(model.out, np.inf)},
        {"scale": -model.scale},
        {"centre": model.centre[1:]},
        {"more": np.zeros(1)},
    ):
        with pytest.raises(SurrogateFileError):
            Ranking.of({**model.arrays(), **change}, {})
    with pytest.raises(ShapeError, match=r"not \(N, 5\)"):
        model.predict(x[:, 1:])
    with pytest.raises(ValueError, match="the loss is one of"):
        clone(QUICK).set_params(loss="hinge").fit(x, y)


@pytest.mark.slow
def test_pairs_are_no_worse_than_values() -> None:  # B18
    """100 cells of NAS-Bench-201, ten draws: the pairwise loss gains or ties on τ."""
    needs(ACCURACIES)
    cells, y = read_cells(), read_accuracies()
    x = way_statistics(cells.operations)
    gains = []
    for seed in range(10):
        train, test = isomorphism_safe(cells.classes, 100, np.random.default_rng(seed))
        taus = [
            _tau(
                PairwiseRanker(loss=loss, calibrate=False).fit(x[train], y[train]).predict(x[test]),
                y[test],
            )
            for loss in ("pairwise", "mse")
        ]
        gains.append(taus[0] - taus[1])
    low, mean, high = interval(gains)
    print(f"pairs gain {mean:+.4f} of tau, 95 % interval {low:+.4f} … {high:+.4f}")
    assert high > 0 and mean > -0.01
