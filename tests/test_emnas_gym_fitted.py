"""Predictor files as evaluators: any kind of model, asked through the environment or directly."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conftest import TINY
from hypothesis import given, settings
from hypothesis import strategies as st

import emnas_gym  # noqa: F401
from emnas_gym import costs, surrogate_file
from emnas_gym.architecture import Architecture
from emnas_gym.errors import (
    DatasetError,
    DomainError,
    EmNASError,
    EvaluationError,
    SurrogateFileError,
    UnknownName,
)
from emnas_gym.fitted import FittedEvaluator
from emnas_gym.measurement import Measurement
from emnas_gym.models.base import FittedModel
from emnas_gym.models.constant import Constant
from emnas_gym.models.inputs import encode
from emnas_gym.problem import Problem
from emnas_gym.registry import make_evaluator
from emnas_gym.space import SearchSpace
from emnas_gym.surrogate_file import (
    Surrogate,
    read_surrogate,
    shipped_folder,
    surrogate_names,
    write_surrogate,
)
from emnas_gym.tasks import DIGITS, Task
from emnas_gym.walks import Walks
from predictors.estimators.additive import AdditiveRegressor
from predictors.estimators.base import Estimator
from predictors.estimators.count import CountRegressor
from predictors.estimators.elastic_net import ElasticNetRegressor
from predictors.estimators.gaussian_process import GaussianRegressor
from predictors.estimators.median import MedianRegressor
from predictors.estimators.mlp import MlpRegressor
from predictors.estimators.recurrent import RecurrentRegressor
from predictors.estimators.seed_network import SeedNetworkRegressor
from predictors.estimators.stack import StackRegressor
from predictors.estimators.trees import TreesRegressor
from predictors.predictor_fit import fit_predictor

DEVICE = "stm32f446re"
TREES = TreesRegressor(trees=15, link="log")
READER = RecurrentRegressor(state=4, hidden=4, members=2, epochs=2, link="log")
MADE: dict[str, tuple[str, Estimator]] = {
    "constant": ("path", MedianRegressor()),
    "linear": ("counts", CountRegressor("macs", link="log")),
    "linear on features": ("features", ElasticNetRegressor(mixes=(0.5,), penalties=3, link="log")),
    "ensemble": ("matrix", MlpRegressor((6,), max_iter=5, link="log")),
    "recurrent": ("layers", READER),
    "position_network": ("onehot", SeedNetworkRegressor(positions=15, epochs=1)),
    "trees": ("features", TREES),
    "gaussian": ("counts", GaussianRegressor(rows=30, link="log")),
    "additive": ("terms+sigmoid", AdditiveRegressor(("sigmoid",))),
    "mixture": ("counts", StackRegressor((("", TREES), ("", MedianRegressor())), folds=3)),
    "mixture of encodings": (
        "features&layers&terms",
        StackRegressor(
            (("features", TREES), ("layers", READER), ("terms", AdditiveRegressor())), folds=3
        ),
    ),
}


def _surrogate(model: FittedModel, space: SearchSpace, reads: str = "", **other: Any) -> Surrogate:
    fields: dict[str, Any] = {
        "field": "latency_ms",
        "space": space.name,
        "space_fingerprint": space.fingerprint,
        "task": "digits",
        "input_shape": (16, 16, 1),
        "classes": 10,
        "device": DEVICE,
        "lengths": (space.min_layers, space.max_layers),
        "about": {"source": "a test"},
    }
    return Surrogate(**(fields | other), model=model, reads=reads)


@pytest.fixture(scope="module")
def networks(space: SearchSpace) -> list[Architecture]:
    rng = np.random.default_rng(6)
    return [space.sample(rng) for _ in range(50)]


@pytest.fixture(scope="module")
def latency(networks: list[Architecture]) -> np.ndarray:
    macs = encode("counts", networks, DIGITS)[:, 1]
    return 0.1 + 1e-5 * 2.0**macs


# ------------------------------------------------------------------------------ all kinds, ways


@pytest.mark.parametrize("name", MADE)
def test_every_kind_of_model_serves_as_an_evaluator(  # E16
    name: str, networks: list[Architecture], latency: np.ndarray, tmp_path: Path
) -> None:
    encoding, estimator = MADE[name]
    space = networks[0].space
    assert isinstance(space, SearchSpace)
    x = encode(encoding, networks, DIGITS)
    fitted = estimator.fit(x, latency)
    reads = "" if "&" in encoding or fitted.model_.encoding == encoding else encoding
    path = write_surrogate(_surrogate(fitted.model_, space, reads), tmp_path / "mine.json")
    evaluator = FittedEvaluator(path)
    measured = evaluator.evaluate(networks)
    times = [m.latency_ms for m in measured if isinstance(m, Measurement)]
    assert times == pytest.approx(fitted.predict(x), abs=1e-8)
    mean, spread = evaluator.predict(networks)
    assert mean == pytest.approx(times, abs=1e-8)
    assert spread == pytest.approx(fitted.predict(x, return_std=True)[1], abs=1e-8)
    assert measured[:3] == evaluator.evaluate(networks[:3]), "a batch changes nothing"
    again = read_surrogate(path, any_name=True)
    assert set(again.encoding.split("&")) <= set(encoding.split("&"))
    assert again.model.predict(x)[0].tolist() == fitted.predict(x).tolist()


def test_an_environment_takes_the_path_of_a_file(  # E16
    networks: list[Architecture], latency: np.ndarray, tmp_path: Path
) -> None:
    model = CountRegressor("macs", link="log").fit(encode("counts", networks, DIGITS), latency)
    space = networks[0].space
    assert isinstance(space, SearchSpace)
    surrogate = _surrogate(model.model_, space, "counts")
    path = write_surrogate(surrogate, tmp_path / "mine" / "latency.json")
    for spec in (str(path), path, [path], FittedEvaluator(path), ["surrogate", str(path)]):
        if isinstance(spec, FittedEvaluator):
            with pytest.raises(EmNASError, match="needs accuracy, which FittedEvaluator"):
                gym.make("EmNAS-v0", evaluator=spec)
            continue
        env = gym.make("EmNAS-v0", evaluator=spec)
        _, info = env.reset(seed=1)
        over = False
        while not over:
            token = int(np.flatnonzero(info["action_mask"])[0])
            _, _, over, _, info = env.step(token)
        found = info["measurement"]
        tokens = [int(token) for token in info["architecture"] if token]
        expected = FittedEvaluator(path).predict([space.architecture(tokens)])[0][0]
        assert found["latency_ms"] == expected
        assert 0 < found["accuracy"] < 1, "what the file does not predict comes from the package"
        env.close()


def test_several_files_are_one_evaluator(networks: list[Architecture], tmp_path: Path) -> None:
    space = networks[0].space
    assert isinstance(space, SearchSpace)
    accuracy = _surrogate(Constant(0.7, 0.1), space, field="accuracy", device=None)
    latency = _surrogate(Constant(2.5, 0.0), space, lengths=(4, 9))
    memory = _surrogate(Constant(100.4, 1.0), space, field="ram_bytes")
    runs = _surrogate(Constant(0.4, 0.0), space, field="feasible")
    evaluator = FittedEvaluator(accuracy, write_surrogate(latency, tmp_path), memory, runs)
    assert evaluator.provides == {"accuracy", "latency_ms", "ram_bytes"}
    assert evaluator.domain.lengths == (4, 9)
    assert evaluator.domain.device == DEVICE
    short = [a for a in networks if len(a.tokens) <= 9]
    first = evaluator.evaluate(short)[0]
    expected = {"accuracy": 0.7, "latency_ms": 2.5, "ram_bytes": 100, "feasible": False}
    assert first == Measurement.of("predicted", **expected)
    assert evaluator.predict(short, "ram_bytes")[1].tolist() == [1.0] * len(short)
    with pytest.raises(DomainError, match="nothing predicts 'energy_mj', only accuracy"):
        evaluator.predict(short, "energy_mj")
    with pytest.raises(DomainError, match="instead of 4 to 9"):
        evaluator.evaluate([a for a in networks if len(a.tokens) > 9])
    assert make_evaluator(evaluator, Problem.make(max_layers=9)) is evaluator


def test_parts_that_do_not_belong_together_are_refused(
    space: SearchSpace, mobile: SearchSpace
) -> None:
    one = _surrogate(Constant(1.0, 0.0), space)
    for other in (
        _surrogate(Constant(1.0, 0.0), space),
        _surrogate(Constant(1.0, 0.0), mobile, field="energy_mj"),
        _surrogate(Constant(1.0, 0.0), space, field="energy_mj", task="grasp"),
        _surrogate(Constant(1.0, 0.0), space, field="energy_mj", classes=2),
        _surrogate(Constant(1.0, 0.0), space, field="energy_mj", device="host"),
    ):
        with pytest.raises(SurrogateFileError, match=r"same space|one device"):
            FittedEvaluator(one, other)
    with pytest.raises(SurrogateFileError, match="at least one"):
        FittedEvaluator()


def test_outside_its_domain_it_says_what_differs(
    space: SearchSpace, tiny: SearchSpace, tmp_path: Path
) -> None:
    accuracy = _surrogate(Constant(0.5, 0.1), space, field="accuracy", device=None)
    evaluator = FittedEvaluator(accuracy, _surrogate(Constant(2.0, 0.1), space, lengths=(4, 10)))
    path = write_surrogate(_surrogate(Constant(2.0, 0.1), space), tmp_path / "mine.json")
    other_images = Task("digits", (8, 8, 1), 10)
    for spec, asked, message in (
        (path, Problem.make(device="host"), "device 'host' instead of 'stm32f446re'"),
        (path, Problem.make(tiny), "space '.*' instead of"),
        (path, Problem.make(task=other_images), r"images \(8, 8, 1\) of 10 classes instead of"),
        (evaluator, Problem.make(), "lengths 4 to 15 instead of 4 to 10"),
        ([evaluator], Problem.make(max_layers=9, device="host"), "device 'host'"),
    ):
        with pytest.raises(DomainError, match=message):
            make_evaluator(spec, asked)


def test_larger_networks_than_those_of_the_fit_are_refused(
    space: SearchSpace, tmp_path: Path
) -> None:
    """Alone, in batches, and by tables; where the budget on MACs keeps to them, all is answered."""
    networks = [space.architecture([4, 4, 4, 382]), space.architecture([37, 4, 37, 382])]
    macs = [costs.macs(a.graph(DIGITS)) for a in networks]
    small, large = sorted(range(2), key=macs.__getitem__)
    most = macs[small]
    fitted = read_surrogate(shipped_folder() / "emnas-382_digits_accuracy.json")
    limited = replace(fitted, max_macs=most)
    path = write_surrogate(limited, tmp_path / "mine.json")
    assert read_surrogate(path, any_name=True).max_macs == most
    evaluator = FittedEvaluator(path, _surrogate(Constant(2.0, 0.1), space))
    assert evaluator.domain.macs == most
    free = FittedEvaluator(fitted)
    assert free.domain.macs is None
    fits, over = networks[small], networks[large]
    expected = free.evaluate([fits])[0]
    assert isinstance(expected, Measurement)
    for asked in (evaluator.evaluate, evaluator.predict):
        with pytest.raises(DomainError, match=f"has {macs[large]} MACs.*up to {most}"):
            asked([fits, over])
    found = evaluator.evaluate([fits])[0]
    assert isinstance(found, Measurement)
    assert found.accuracy == expected.accuracy
    tables = FittedEvaluator(path)
    every = Problem.make().automaton
    assert tables.columns(Walks.of(every, [fits])).values["accuracy"] == expected.accuracy
    with pytest.raises(DomainError, match="MACs"):
        tables.columns(Walks.of(every, [fits, over]))
    kept = Problem.make(budgets={"macs": most})
    assert make_evaluator(path, kept).provides >= {"accuracy"}
    with pytest.raises(DomainError, match=f"instead of up to {most}"):
        make_evaluator(path, Problem.make(budgets={"macs": most + 1}))


def test_one_that_cannot_be_built_or_told_does_not_end_the_others(space: SearchSpace) -> None:
    shrinks = space.architecture([36, 36, 36, 25, 382])
    fits = space.architecture([4, 4, 4, 382])
    for field in ("latency_ms", "macs"):
        evaluator = FittedEvaluator(_surrogate(Constant(np.inf, 0.0), space, field=field))
        assert all(isinstance(r, EvaluationError) for r in evaluator.evaluate([fits, shrinks]))
    good = FittedEvaluator(_surrogate(Constant(3.0, 0.0), space)).evaluate([shrinks, fits])
    assert isinstance(good[0], EvaluationError)
    assert good[1] == Measurement.of("predicted", latency_ms=3.0)


def test_a_model_for_other_columns_is_refused_when_it_is_asked(
    networks: list[Architecture], latency: np.ndarray
) -> None:
    space = networks[0].space
    assert isinstance(space, SearchSpace)
    model = TREES.fit(encode("counts", networks, DIGITS), latency).model_
    evaluator = FittedEvaluator(_surrogate(model, space, "path"))
    with pytest.raises(SurrogateFileError, match="reads 16 columns, and path has 1024"):
        evaluator.evaluate(networks)


def test_a_task_with_a_path_for_a_name_has_files_too(space: SearchSpace, tmp_path: Path) -> None:
    made = _surrogate(Constant(1.0, 0.0), space, task="/my/cats", device="my board")
    path = write_surrogate(made, tmp_path)
    assert path.parent == tmp_path
    assert read_surrogate(path).task == "/my/cats"
    assert surrogate_names(tmp_path) == ["emnas-382_-my-cats_my-board_latency_ms"]


def test_shipped_files_keep_their_bytes_and_predictions(tmp_path: Path) -> None:
    for name in surrogate_names(shipped_folder()):
        shipped = read_surrogate(shipped_folder() / f"{name}.json")
        path = write_surrogate(shipped, tmp_path)
        arrays = shipped_folder() / f"{name}.npz"
        assert path.with_suffix(".npz").exists() == arrays.exists()
        if arrays.exists():
            with np.load(arrays) as old, np.load(path.with_suffix(".npz")) as new:
                assert sorted(old.files) == sorted(new.files)
                assert all(old[key].tobytes() == new[key].tobytes() for key in old.files)


# ------------------------------------------------------------------------------ hostile files


def _written(folder: Path, header: dict[str, Any]) -> Path:
    """A file whose header was changed and its checksum made anew."""
    path = write_surrogate(_surrogate(Constant(1.0, 0.0), TINY), folder / "mine.json")
    data = json.loads(path.read_text(encoding="utf-8"))
    data.pop("checksum")
    data.update(header)
    data["checksum"] = surrogate_file._checksum(data)
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "forest"},
        {"kind": ["constant"]},
        {"kind": "trees"},
        {"options": None},
        {"options": 7},
        {"reads": "layers"},
        {"reads": "terms"},
        {"reads": "features&counts"},
        {"reads": "nothing"},
        {"reads": 3},
        {"version": 99},
        {"input_shape": [10**9, 10**9, 3]},
        {"input_shape": [-1, 2, 3]},
        {"input_shape": [2.5, 2, 3]},
        {"input_shape": "abc"},
        {"input_shape": [2, 2]},
        {"classes": True},
        {"classes": 10**12},
        {"lengths": [9, 4]},
        {"lengths": [4]},
        {"max_macs": 0},
        {"max_macs": True},
        {"max_macs": 2.5e6},
        {"max_macs": 1 << 63},
        {"space": 7},
        {"device": ["host"]},
        {"about": 3},
        {"field": ["latency_ms"]},
        {"format": "2"},
        {"npz_sha256": None},
    ],
    ids=str,
)
def test_a_header_that_makes_no_sense_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(SurrogateFileError, match=r"mine\.json: "):
        FittedEvaluator(_written(tmp_path, change))


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_header_is_read_or_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    names = ["options", "reads", "version", "kind", *surrogate_file._KEYS, "about", "npz_sha256"]
    change = {data.draw(st.sampled_from(names)): data.draw(VALUES)}
    folder = tmp_path_factory.mktemp("header")
    try:
        made = FittedEvaluator(_written(folder, change))
    except SurrogateFileError:
        return
    assert made.parts[0].model.predict(np.zeros((2, 3)))[0].shape == (2,)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_any_damage_to_a_file_is_refused(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    path = write_surrogate(_surrogate(Constant(1.0, 0.0), TINY), folder / "mine.json")
    target = data.draw(st.sampled_from([path, path.with_suffix(".npz")]))
    content = bytearray(target.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[place:]
    before = target.read_bytes()
    target.write_bytes(bytes(content))
    try:
        same = FittedEvaluator(path).parts[0]
    except SurrogateFileError:
        return
    assert json.loads(before) == json.loads(bytes(content)), "only blanks may change"
    assert same.field == "latency_ms"


def test_a_missing_file_and_a_misspelt_one(tmp_path: Path) -> None:
    for spec in (tmp_path / "none.json", "none.json"):
        with pytest.raises(SurrogateFileError, match=r"none\.json cannot be read"):
            make_evaluator(spec, Problem.make())
    with pytest.raises(UnknownName, match="did you mean surrogate"):
        make_evaluator("surogate", Problem.make())


# ------------------------------------------------------------------------------ fit_predictor


def _rows(networks: list[Architecture]) -> list[tuple[int, ...]]:
    return [architecture.tokens for architecture in networks]


def test_the_best_of_a_table_is_fitted_to_measurements(  # E16
    networks: list[Architecture], latency: np.ndarray, tmp_path: Path
) -> None:
    space = networks[0].space
    made = fit_predictor(space, DIGITS, DEVICE, "latency_ms", _rows(networks), latency)
    held_out = made.about["held_out"]
    scores = made.about["chosen_by_cross_validation"]
    assert scores[held_out["model"]] == min(scores.values())
    assert scores[held_out["model"]] < 0.5 * scores["median"]
    assert held_out["mae"] < 0.7 * held_out["baseline"]["mae"]
    assert held_out["tau"] > 0.8
    assert held_out["rows"] == len(networks)
    lengths = [len(a.tokens) for a in networks]
    assert made.lengths == (min(lengths), max(lengths))
    path = write_surrogate(made, tmp_path / "mine.json")
    assert read_surrogate(path, any_name=True).about == made.about
    evaluator = FittedEvaluator(path).checked_for(Problem.make(min_layers=made.lengths[0]))
    mean, _ = evaluator.predict(networks)
    assert np.abs(mean - latency).mean() < held_out["baseline"]["mae"]


def test_accuracy_needs_no_device(networks: list[Architecture], latency: np.ndarray) -> None:
    shares = 1 / (1 + latency)
    tried = {
        "median": ("counts", MedianRegressor()),
        "macs": ("counts", CountRegressor("macs", link="logit")),
    }
    space = networks[0].space
    made = fit_predictor(space, DIGITS, None, "accuracy", _rows(networks), shares, tried=tried)
    assert made.about["held_out"]["model"] == "macs"
    assert made.encoding == "counts"
    assert made.device is None


def test_equal_networks_are_held_out_together(networks: list[Architecture]) -> None:
    """A value that only a repeat could know is not predicted out of fold."""
    noise = np.random.default_rng(0).uniform(1, 2, 25)
    rows, values = _rows(networks[:25]) * 2, np.tile(noise, 2)
    nearest = {"median": ("counts", MedianRegressor()), "gp": ("onehot", GaussianRegressor(0.5))}
    space = networks[0].space
    made = fit_predictor(space, DIGITS, DEVICE, "latency_ms", rows, values, tried=nearest)
    scores = made.about["chosen_by_cross_validation"]
    assert scores["gp"] > 0.8 * scores["median"]


def test_impossible_measurements_are_refused(
    networks: list[Architecture], latency: np.ndarray
) -> None:
    space, rows = networks[0].space, _rows(networks)
    bad = latency.copy()
    bad[7] = -1.0
    for device, field, tokens, y, message in (
        (DEVICE, "latency_ms", rows, bad, "row 7: latency_ms is -1, and must be above 0"),
        (None, "accuracy", rows, latency * 100, "accuracy is .* must be 0 … 1"),
        (None, "latency_ms", rows, latency, "latency_ms needs a device"),
        (DEVICE, "accuracy", rows, latency, "accuracy depends on no device"),
        (DEVICE, "latency_ms", rows[:19], latency[:19], "19 networks .* too few"),
        (DEVICE, "latency_ms", rows[:1] * 50, latency, "1 networks .* too few"),
        (DEVICE, "latency_ms", rows, latency[:-1], "50 networks and values of shape"),
        (DEVICE, "latency_ms", rows, latency * np.nan, "row 0: latency_ms is nan"),
    ):
        with pytest.raises(DatasetError, match=message):
            fit_predictor(space, DIGITS, device, field, tokens, y)
    with pytest.raises(UnknownName, match="did you mean latency_ms"):
        fit_predictor(space, DIGITS, DEVICE, "latency", rows, latency)


def test_a_surrogate_may_read_any_matrix(space: SearchSpace) -> None:
    made = _surrogate(Constant(1.0, 0.0), space)
    assert made.encoding == "features"
    assert replace(made, reads="path").encoding == "path"
