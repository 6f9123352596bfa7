"""What every estimator keeps, checked on a few networks: public, for estimators of others too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from emnas_gym.array_file import write_arrays
from emnas_gym.errors import SurrogateFileError
from emnas_gym.graph_encoding import Graphs
from emnas_gym.models.archive import unpack_model
from emnas_gym.models.base import Array
from predictors.estimators.base import Estimator
from predictors.estimators.files import load, save
from predictors.estimators.selection import count, take

CLOSE = 1e-9  # relative: sums over a batch differ in the last bits with its size and order
ORDER = 1e-5  # relative: what the order of the training rows may change in a closed form


def check_predictor(estimator: Estimator, x: Any, y: Array, folder: Path) -> None:  # noqa: ANN401
    """Checks the contract of an estimator.

    Args:
        estimator: Not fitted; it stays so.
        x: At least 20 networks in an encoding that it reads.
        y: (N,) targets that it can learn.
        folder: Where files are written.

    Raises:
        AssertionError: Saying what does not hold.
    """
    _check_clone(estimator, x)
    fitted = clone(estimator)
    assert fitted.fit(x, y) is fitted, "fit returns the estimator"
    _check_predictions(fitted, x)
    _check_repeats(estimator, fitted, x, y)
    _check_order(estimator, fitted, x, y)
    _check_model_alone(fitted, x)
    _check_file(fitted, x, folder)
    _check_refuses(estimator, fitted, x, y)


def _check_clone(estimator: Estimator, x: Any) -> None:  # noqa: ANN401
    copy = clone(estimator)
    assert repr(copy.get_params()) == repr(estimator.get_params()), "a clone has equal parameters"
    copy.set_params(**copy.get_params(deep=False))
    assert not hasattr(copy, "model_"), "a clone is not fitted"
    try:
        copy.predict(x)
    except NotFittedError:
        return
    raise AssertionError("what was not fitted must not predict")


def _check_predictions(fitted: Estimator, x: Any) -> None:  # noqa: ANN401
    mean, deviation = fitted.predict(x, return_std=True)
    assert mean.shape == deviation.shape == (count(x),), "one number for each network"
    assert np.isfinite(mean).all(), "predictions are finite"
    assert (deviation >= 0).all(), "deviations are not negative"
    assert np.isfinite(deviation).all(), "deviations are finite"
    assert (fitted.predict(x) == mean).all(), "asking for deviations changes nothing"
    backwards = np.arange(count(x))[::-1]
    again = fitted.predict(take(x, backwards))[::-1]
    np.testing.assert_allclose(again, mean, rtol=CLOSE, atol=CLOSE, err_msg="order of networks")
    few = fitted.predict(take(x, np.arange(3)))
    np.testing.assert_allclose(few, mean[:3], rtol=CLOSE, atol=CLOSE, err_msg="size of the batch")


def _check_repeats(estimator: Estimator, fitted: Estimator, x: Any, y: Array) -> None:  # noqa: ANN401
    again = clone(estimator).fit(x, y)
    for first, second in zip(
        fitted.predict(x, return_std=True), again.predict(x, return_std=True), strict=True
    ):
        assert (first == second).all(), "equal arguments give equal bits"


def _check_order(estimator: Estimator, fitted: Estimator, x: Any, y: Array) -> None:  # noqa: ANN401
    if estimator.ordered:
        return
    rows = np.random.default_rng(0).permutation(count(x))
    other = clone(estimator).fit(take(x, rows), y[rows])
    scale = float(np.abs(y).max())
    np.testing.assert_allclose(
        other.predict(x), fitted.predict(x), rtol=ORDER, atol=ORDER * scale, err_msg="order of rows"
    )


def _check_model_alone(fitted: Estimator, x: Any) -> None:  # noqa: ANN401
    model = fitted.model_
    arrays = model.arrays()
    again = unpack_model(model.kind, model.options(), write_arrays(arrays) if arrays else None)
    assert type(again) is type(model), "the table of kinds knows the model"
    for first, second in zip(model.predict(x), again.predict(x), strict=True):
        assert (first == second).all(), "the model predicts the same bits after it is stored"
    assert (model.predict(x)[0] == fitted.predict(x)).all(), "predictions are the model's"


def _check_file(fitted: Estimator, x: Any, folder: Path) -> None:  # noqa: ANN401
    path = save(fitted, folder / f"{type(fitted).__name__}.predictor")
    again = load(path)
    assert type(again) is type(fitted), "what is read is of the class that was written"
    assert repr(again.get_params()) == repr(fitted.get_params()), "parameters are kept"
    for first, second in zip(
        fitted.predict(x, return_std=True), again.predict(x, return_std=True), strict=True
    ):
        assert (first == second).all(), "what is read predicts the same bits"
    content = path.read_bytes()
    for damaged in _damages(content):
        path.write_bytes(damaged)
        _must_raise(SurrogateFileError, load, path, "a damaged file is refused")
    path.write_bytes(content)


def _damages(content: bytes) -> list[bytes]:
    rng = np.random.default_rng(0)
    damages = [content[:size] for size in rng.integers(0, len(content), 10)]
    for place in rng.integers(0, len(content), 20).tolist():
        damages.append(content[:place] + bytes([content[place] ^ 0x15]) + content[place + 1 :])
    return [*damages, b"", content + b"more"]


def _check_refuses(estimator: Estimator, fitted: Estimator, x: Any, y: Array) -> None:  # noqa: ANN401
    for bad in (np.nan, np.inf):
        wrong = np.where(np.arange(len(y)) == 1, bad, y)
        fits = lambda b=bad: clone(estimator).fit(_spoiled(x, b), y)  # noqa: E731
        predicts = lambda b=bad: fitted.predict(_spoiled(x, b))  # noqa: E731
        _must_raise(ValueError, fits, None, f"{bad} in x")
        _must_raise(ValueError, predicts, None, f"{bad} in x")
        _must_raise(ValueError, lambda w=wrong: clone(estimator).fit(x, w), None, f"{bad} in y")
    _must_raise(ValueError, lambda: clone(estimator).fit(x, y[:-1]), None, "too few targets")


def _must_raise(error: type[Exception], call: Any, argument: Any, what: str) -> None:  # noqa: ANN401
    try:
        call() if argument is None else call(argument)
    except error:
        return
    raise AssertionError(f"{what}: {error.__name__} was not raised")


def _spoiled(x: Any, bad: float) -> Any:  # noqa: ANN401
    """A copy of encoded networks with one bad number."""
    if isinstance(x, Mapping):
        first = next(iter(x))
        return {**x, first: _spoiled(x[first], bad)}
    if isinstance(x, Graphs):
        return replace(x, nodes=_spoiled(x.nodes, bad))
    if isinstance(x, list):
        return [{**x[0], next(iter(x[0])): bad}, *x[1:]]
    copy = np.array(x, dtype=np.float64)
    copy[(1, *[0] * (copy.ndim - 1))] = bad
    return copy
