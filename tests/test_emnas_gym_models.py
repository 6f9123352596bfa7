"""Fitted models in numpy: equal to what scikit-learn and torch compute, and hard to fool."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.linear_model import ElasticNetCV
from sklearn.neural_network import MLPRegressor

from emnas_gym import array_file
from emnas_gym.array_file import read_arrays, write_arrays
from emnas_gym.errors import SurrogateFileError
from emnas_gym.models.archive import unpack_model
from emnas_gym.models.base import FittedModel
from emnas_gym.models.constant import Constant
from emnas_gym.models.ensemble import off_link, unlink
from emnas_gym.models.gaussian import GaussianProcess
from emnas_gym.models.linear import Linear
from emnas_gym.models.mixture import Mixture
from emnas_gym.models.position_network import PositionNetwork, parameters
from emnas_gym.models.trees import LEAF, Trees
from predictors.estimators import gaussian_process, mlp
from predictors.estimators import trees as tree_estimator
from predictors.estimators.elastic_net import ElasticNetRegressor
from predictors.estimators.gaussian_process import GaussianRegressor
from predictors.estimators.mlp import MlpRegressor
from predictors.estimators.seed_network import SeedNetwork, SeedNetworkRegressor
from predictors.estimators.stack import mixing_weights
from predictors.estimators.trees import TreesRegressor

Data = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def data() -> Data:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 6)) * [1, 10, 0.1, 1, 5, 0]  # the last one does not vary
    return x, np.tanh(x[:, 0]) + 0.1 * x[:, 1] ** 2 + rng.normal(size=120) * 0.1


def _kept(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    """What scikit-learn fitted inside an estimator, to be compared with."""
    fitted: list[Any] = []
    original = getattr(module, name)

    def keeping(*args: Any, **kwargs: Any) -> Any:
        fitted.append(original(*args, **kwargs))
        return fitted[-1]

    monkeypatch.setattr(module, name, keeping)
    return fitted


# -------------------------------------------------------------------- equal to what was fitted


@pytest.mark.parametrize("loss", ["squared_error", "huber", "absolute_error"])
def test_trees_are_those_of_scikit_learn(
    loss: str, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:  # D1
    kept = _kept(monkeypatch, tree_estimator, "GradientBoostingRegressor")
    x, y = data
    model = TreesRegressor(trees=40, loss=loss).fit(x, y)
    wide = np.concatenate([x, x * 3, x + 1e-8])
    assert isinstance(kept[0], GradientBoostingRegressor)
    assert model.predict(wide) == pytest.approx(kept[0].predict(wide), abs=1e-9, rel=1e-9)


@pytest.mark.parametrize("smoothness", [0.5, 1.5, 2.5, math.inf])
@pytest.mark.parametrize("each", [False, True])
def test_gaussian_process_is_that_of_scikit_learn(
    smoothness: float, each: bool, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:  # D1, E18
    kept = _kept(monkeypatch, gaussian_process, "GaussianProcessRegressor")
    x, y = data
    model = GaussianRegressor(smoothness, each=each).fit(x[:80], y[:80])
    assert isinstance(model.model_, GaussianProcess)
    standard = (x - model.model_.centre) / model.model_.scale
    assert isinstance(kept[0], GaussianProcessRegressor)
    mean, deviation = kept[0].predict(standard, return_std=True)
    spread, middle = y[:80].std(), y[:80].mean()
    found, doubt = model.predict(x, return_std=True)
    assert found == pytest.approx(middle + spread * mean, rel=1e-6, abs=1e-6)
    assert doubt == pytest.approx(spread * deviation, rel=1e-6, abs=1e-6)


def test_a_gaussian_process_doubts_where_it_has_seen_nothing(data: Data) -> None:  # E18
    x, y = data
    model = GaussianRegressor().fit(x[:80], y[:80])
    near, far = (model.predict(rows, return_std=True)[1] for rows in (x[:80], x[:80] + 1000))
    assert far.min() > near.max()
    inside = np.abs(model.predict(x[80:]) - y[80:]) < 2 * model.predict(x[80:], return_std=True)[1]
    assert inside.mean() > 0.8


def test_of_many_rows_some_are_remembered(data: Data) -> None:
    x, y = data
    model = GaussianRegressor(rows=30).fit(x, y).model_
    assert isinstance(model, GaussianProcess)
    assert model.rows.shape == (30, 6)


def test_elastic_net_is_that_of_scikit_learn(data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    from predictors.estimators import elastic_net

    kept = _kept(monkeypatch, elastic_net, "ElasticNetCV")
    x, y = data
    model = ElasticNetRegressor(mixes=(0.5, 1.0), penalties=10).fit(x, y)
    assert isinstance(kept[0], ElasticNetCV)
    scale = np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)
    expected = kept[0].predict((x - x.mean(axis=0)) / scale)
    assert model.predict(x) == pytest.approx(expected, rel=1e-9, abs=1e-9)
    ends = model.predict(np.array([x.max(axis=0), x.max(axis=0) * 2 + 1]))
    assert ends[0] == ends[1], "beyond the range that was seen nothing is extrapolated"


def test_the_network_of_lenna_is_that_of_scikit_learn(
    data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = _kept(monkeypatch, mlp, "MLPRegressor")
    x, y = data
    model = MlpRegressor((16,), members=2, max_iter=50).fit(x, y)
    assert all(isinstance(network, MLPRegressor) for network in kept)
    scale = np.where(x.std(axis=0) > 0, x.std(axis=0), 1.0)
    standard = (x - x.mean(axis=0)) / scale
    starts = np.stack([y.mean() + y.std() * network.predict(standard) for network in kept])
    mean, deviation = model.predict(x, return_std=True)
    assert mean == pytest.approx(starts.mean(axis=0), abs=1e-4)  # weights are stored as float32
    assert deviation == pytest.approx(starts.std(axis=0), abs=1e-4)


@pytest.mark.parametrize(("positions", "expected"), [(5, 39_441), (15, 40_081)])
def test_the_seeds_network_has_its_parameters(positions: int, expected: int) -> None:  # B18
    network = SeedNetwork(positions, 383)
    assert sum(p.numel() for p in network.parameters()) == expected
    each, after = network.layers()
    assert parameters([*each, *after]) == expected


def test_the_seeds_network_in_numpy_is_that_in_torch() -> None:
    torch.manual_seed(3)
    network = SeedNetwork(4, 7).eval()
    model = PositionNetwork(*network.layers(), 4, "identity")
    rows = np.eye(7)[np.random.default_rng(0).integers(0, 7, (300, 4))]
    with torch.no_grad():
        expected = network(torch.tensor(rows, dtype=torch.float32)).numpy()
    assert model.predict(rows.reshape(300, -1))[0] == pytest.approx(expected, abs=1e-6)
    assert model.predict(rows)[0] == pytest.approx(expected, abs=1e-6)
    assert np.ptp(expected) > 1e-3


def test_the_seeds_network_learns_what_positions_say() -> None:
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 6, (400, 3))
    x = np.eye(6)[tokens].reshape(400, -1)
    y = (tokens == 2).sum(axis=1) + 0.5 * (tokens[:, 0] > 3)
    model = SeedNetworkRegressor(positions=3, epochs=20, learning_rate=5e-3).fit(x[:300], y[:300])
    assert np.corrcoef(model.predict(x[300:]), y[300:])[0, 1] > 0.7


# ------------------------------------------------------------------------------ small pieces


def test_deviations_leave_the_scale_of_the_link() -> None:
    score, deviation = np.array([0.0, 3.0]), np.array([0.5, 0.1])
    for link in ("identity", "log", "logit"):
        mean, spread = off_link(link, score, deviation)
        assert mean.tolist() == unlink(link, score).tolist()
        step = (unlink(link, score + 1e-6) - unlink(link, score - 1e-6)) / 2e-6
        assert spread == pytest.approx(step * deviation, rel=0.1)
    assert off_link("identity", score, deviation)[1] == pytest.approx(deviation)


def test_a_mixture_has_the_moments_of_its_parts() -> None:
    parts = (Constant(1.0, 0.5), Constant(3.0, 1.0))
    mixture = Mixture(parts, np.array([0.25, 0.75]))
    mean, deviation = mixture.predict(np.zeros((2, 1)))
    rng = np.random.default_rng(0)
    which = rng.random(400_000) < 0.25
    drawn = np.where(which, rng.normal(1.0, 0.5, 400_000), rng.normal(3.0, 1.0, 400_000))
    assert mean == pytest.approx([drawn.mean()] * 2, abs=0.01)
    assert deviation == pytest.approx([drawn.std()] * 2, abs=0.01)


def test_weights_of_a_stack_are_the_best_shares() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 500))
    y = 0.3 * first + 0.7 * second
    weights = mixing_weights(np.stack([first, second, rng.normal(size=500)], axis=1), y)
    assert weights == pytest.approx([0.3, 0.7, 0.0], abs=1e-3)
    assert weights.sum() == pytest.approx(1.0)
    only = mixing_weights(np.stack([np.full(500, y.mean()), -y], axis=1), y)
    assert only == pytest.approx([1.0, 0.0], abs=1e-3), "a part that is wrong weighs nothing"


# ---------------------------------------------------------------------------- hostile arrays


def _models(data: Data) -> Iterator[FittedModel]:
    x, y = data
    layer = (np.ones((7, 2)), np.zeros(2))
    yield Constant(1.0, 2.0)
    yield Linear(x.min(axis=0), x.max(axis=0), np.ones(6), 0.5, 0.1, "identity")
    yield TreesRegressor(trees=5).fit(x, y).model_
    yield GaussianRegressor(rows=20).fit(x, y).model_
    yield PositionNetwork((layer,), ((np.ones((8, 1)), np.zeros(1)),), 4, "log")
    yield MlpRegressor((3,), max_iter=3).fit(x, y).model_
    yield Mixture((Constant(1.0, 2.0), TreesRegressor(trees=2).fit(x, y).model_), np.full(2, 0.5))


@pytest.fixture(scope="module")
def models(data: Data) -> list[FittedModel]:
    return list(_models(data))


def test_damaged_models_are_refused_or_still_predict(models: list[FittedModel]) -> None:
    """Whatever arrays hold: a typed error, or a model that answers; never another error."""
    rng = np.random.default_rng(0)
    refused = 0
    for model in models:
        arrays, options = model.arrays(), model.options()
        x = rng.normal(size=(5, model.columns or 6))
        for name, array in arrays.items():
            for damaged in _damaged(array, rng):
                try:
                    other = type(model).of(arrays | {name: damaged}, options)
                except SurrogateFileError:
                    refused += 1
                    continue
                columns = other.columns or 6
                mean, _ = other.predict(x if columns == x.shape[1] else np.zeros((5, columns)))
                assert mean.shape == (5,)
        for name in arrays:
            with pytest.raises(SurrogateFileError):
                type(model).of({k: v for k, v in arrays.items() if k != name}, options)
        with pytest.raises(SurrogateFileError):
            type(model).of(arrays | {"more": np.ones(1)}, options)
    assert refused > 300


def _damaged(array: np.ndarray, rng: np.random.Generator) -> Iterator[np.ndarray]:
    yield array[:-1]
    yield array[:0]
    yield np.concatenate([array, array])
    yield array.reshape(-1)
    yield array[None]
    yield np.array(array.flat[0])
    yield np.full(array.shape, np.nan)
    yield np.full(array.shape, "text")
    yield np.full(array.shape, True)
    yield array.astype(np.complex128)
    for bad in (-1, 2**31 - 1, 1e30, -1e30, 0):
        copy = array.astype(np.float64) if abs(bad) > 2**31 else array.copy()
        copy[tuple(rng.integers(0, side) for side in copy.shape)] = bad
        yield copy


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"feature": 6}, "0 to 5"),
        ({"feature": -2}, "0 to 5"),
        ({"left": 0}, "left child"),
        ({"right": 99}, "right child"),
        ({"right": -1}, "right child"),
        ({"root": 3}, "begins outside"),
    ],
    ids=str,
)
def test_trees_never_lead_outside_or_in_circles(change: dict[str, int], message: str) -> None:
    arrays = {
        "root": np.array([0], dtype=np.int32),
        "feature": np.array([2, LEAF, LEAF], dtype=np.int32),
        "left": np.array([1, 0, 0], dtype=np.int32),
        "right": np.array([2, 0, 0], dtype=np.int32),
        "threshold": np.array([0.5, 0, 0]),
        "value": np.array([0.0, 1.0, 2.0]),
        "base": np.array([10.0]),
    }
    options = {"link": "identity", "width": 6}
    x = np.zeros((2, 6))
    x[1, 2] = 1.0
    assert Trees.of(arrays, options).predict(x)[0].tolist() == [11.0, 12.0]
    for name, value in change.items():
        arrays[name][0] = value
    with pytest.raises(SurrogateFileError, match=message):
        Trees.of(arrays, options)


@pytest.mark.parametrize("options", [{}, {"link": "probit"}, {"link": 3}, {"width": -1}], ids=str)
def test_options_that_make_no_sense_are_refused(
    options: dict[str, Any], models: list[FittedModel]
) -> None:
    for model in models:
        right = model.options()
        if not right or not set(options) <= set(right):
            continue
        given = right | options if options else {}
        with pytest.raises(SurrogateFileError):
            unpack_model(model.kind, given, write_arrays(model.arrays()))


NESTED: Any = json.loads('{"kind": "mixture", "options": ' * 200 + "{}" + "}" * 200)


@pytest.mark.parametrize("options", [[], None, {"parts": NESTED}, {"parts": [NESTED], "names": []}])
def test_mixtures_of_nothing_are_refused(options: Any) -> None:
    with pytest.raises(SurrogateFileError):
        unpack_model("mixture", options, write_arrays({"weights": np.ones(1)}))


# --------------------------------------------------------------------------- hostile archives


ARRAYS = {"a": np.arange(6.0).reshape(2, 3), "b": np.array([1 / 3]), "c": np.arange(3, dtype="i4")}


def test_arrays_come_back_as_they_were() -> None:
    arrays = ARRAYS | {"d": np.asfortranarray(np.random.default_rng(0).normal(size=(3, 4)))}
    found = read_arrays(write_arrays(arrays))
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert (found[name] == array).all()
        assert found[name].shape == array.shape
    assert found["a"].dtype == np.float32, "what float32 holds is stored so"
    assert found["b"].dtype == np.float64
    assert write_arrays(arrays) == write_arrays(arrays)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_any_damage_to_an_archive_is_an_error_of_ours(data: st.DataObject) -> None:
    content = bytearray(write_arrays(ARRAYS))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    for damaged in (bytes(content), bytes(content[:cut]), bytes(content[cut:])):
        try:
            found = read_arrays(damaged)
        except ValueError:
            continue
        assert all(array.dtype.kind in "fiub" for array in found.values())


def _archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive_file:
        for name, content in members.items():
            archive_file.writestr(name, content)
    return buffer.getvalue()


def _npy(header: str, content: bytes = b"") -> bytes:
    text = header.encode() + b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


def test_what_asks_for_much_or_for_objects_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    huge = "{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,)}"
    objects = io.BytesIO()
    np.save(objects, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    for content in (_npy(huge), _npy(huge, b"1234"), objects.getvalue(), b"", b"nothing"):
        with pytest.raises(ValueError):
            read_arrays(_archive({"a.npy": content}))
    monkeypatch.setattr(array_file, "MAX_BYTES", 10_000)
    bomb = io.BytesIO()
    np.savez_compressed(bomb, a=np.zeros(100_000))
    assert len(bomb.getvalue()) < 2000
    with pytest.raises(ValueError, match="more than"):
        read_arrays(bomb.getvalue())
    with pytest.raises(ValueError, match="more than"):
        read_arrays(_archive({f"{i}.npy": b"" for i in range(5000)}))
    with pytest.raises(ValueError, match="one name"):
        read_arrays(_archive({"a": b"", "a.npy": b""}))
