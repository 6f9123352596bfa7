"""The original's predictor, trained again: its input, its split, its errors."""

from __future__ import annotations

import numpy as np
import pytest
from data_files import EMNAS, needs

from emnas_gym.errors import UnknownName
from predictors.seed_reproduction import PUBLISHED, retrained, rows_of
from predictors.splits import of_the_original

NEAR = {  # a training of ours may be so far from the published error, as a share of it
    "accuracy_fixed": 0.25,
    "accuracy_variable": 0.25,
    "sipeed": 0.1,
    "jevois": 0.25,
}
ROWS = {"accuracy_fixed": 997, "accuracy_variable": 500, "sipeed": 956, "jevois": 972}
VARIANCE = {"accuracy_fixed": 0.0208, "accuracy_variable": 0.0172, "sipeed": 66_641, "jevois": 145}


@pytest.mark.parametrize("name", PUBLISHED)
def test_rows_and_split_are_the_originals(name: str) -> None:  # B18
    needs(*EMNAS)
    x, y = rows_of(name)
    positions = PUBLISHED[name].positions
    assert x.shape == (ROWS[name], positions * 383)
    assert (x.reshape(len(x), positions, 383).sum(axis=2) == 1).all()
    _, test = of_the_original(len(y))
    assert np.var(y[test]) == pytest.approx(VARIANCE[name], rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_errors_are_those_that_were_published_within_noise(name: str) -> None:  # B18
    needs(*EMNAS)
    found = retrained(name)
    published = found["published"]
    assert found["mae"] == pytest.approx(published["mae"], rel=NEAR[name])
    assert found["mse"] == pytest.approx(published["mse"], rel=2 * NEAR[name])


def test_an_unknown_predictor_is_named() -> None:
    with pytest.raises(UnknownName, match="did you mean sipeed"):
        rows_of("siped")
