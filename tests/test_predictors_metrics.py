from __future__ import annotations

import numpy as np
import pytest

from predictors.metrics import agreement, errors, noise_floor, ranks, rounded, top


def test_errors_and_ranks_known_by_heart() -> None:
    predicted, measured = np.array([1.0, 2.0, 4.0]), np.array([1.0, 4.0, 3.0])
    assert errors(predicted, measured) == pytest.approx({"mae": 1.0, "rmse": (5 / 3) ** 0.5})
    assert ranks(predicted, measured) == pytest.approx({"tau": 1 / 3, "spearman": 0.5})
    assert set(agreement(predicted, measured)) == {"mae", "rmse", "tau", "spearman"}


def test_a_constant_has_no_order() -> None:
    assert ranks(np.ones(3), np.arange(3.0)) == {"tau": None, "spearman": None}


def test_the_best_are_those_predicted_best() -> None:
    predicted = np.arange(100.0)
    measured = np.where(predicted < 90, predicted, predicted - 5)
    found = top(predicted, measured)
    assert found["n"] == 10
    assert found["bias"] == pytest.approx(5)
    assert found["tau"] == pytest.approx(1)


def test_noise_floor_is_the_agreement_of_two_seeds() -> None:
    quiet = noise_floor([[0.1, 0.1, 0.1], [0.5, 0.5, 0.5], [0.9, 0.9, 0.9]])
    assert (quiet["tau"], quiet["mae"]) == (1.0, 0.0)
    assert quiet["deviation"] == pytest.approx(0)
    loud = noise_floor([[0.1, 0.3], [0.2, 0.1], [0.3, 0.2]])
    assert loud["tau"] == pytest.approx(-1 / 3)
    assert loud["mae"] == pytest.approx(0.4 / 3)
    assert noise_floor([])["tau"] is None


def test_rounding_reaches_every_number() -> None:
    assert rounded({"a": [1.23456789, {"b": 1e-9 / 3}], "c": 7}, 3) == {
        "a": [1.23, {"b": 3.33e-10}],
        "c": 7,
    }
