"""New devices from few samples: known answers, hostile input, and the protocol of comparisons."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from data_files import needs
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from typer.testing import CliRunner

from emnas_gym.errors import DatasetError, StoreError, SurrogateFileError, UnknownName
from emnas_gym.models.adapted import AdaptedModel, Prior
from emnas_gym.models.known_devices import KnownDevices
from emnas_gym.space import load_space
from predictors.cli import app
from predictors.intervals import interval
from predictors.transfer.adapted import METHODS, AdaptedLatency, adapt, learned_prior
from predictors.transfer.comparison import FIGURES, WAYS, compare, scores, split
from predictors.transfer.conditioned import ConditionedLatency, ConditionedModel, teach
from predictors.transfer.known import fit_known
from predictors.transfer.kriging import condition, nearest
from predictors.transfer.measured import DEVICES, NPU, measure, read_measured, write_measured
from predictors.transfer.report import draw, markdown
from predictors.transfer.selection import SELECTIONS
from predictors.transfer.worlds import LINE, World, cell_features, cells, original, ours
from predictors.unfinished import Unfinished

Array = NDArray[np.float64]
NB201 = ("nb201/nb201_accuracy.npz", "nb201/hwnasbench_nb201.npz")


def invented(count: int = 160, seed: int = 0) -> tuple[Array, dict[str, Array]]:
    """Networks with four features, and three devices of which two are much alike."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 3, size=(count, 4))
    latency = {
        "a": np.exp(0.2 + np.sin(2 * x[:, 0]) + 0.1 * x[:, 1] ** 2),
        "b": np.exp(1.0 + 0.9 * np.sin(2 * x[:, 0]) + 0.13 * x[:, 1] ** 2 + 0.1 * x[:, 2]),
        "c": np.exp(-1.0 + 0.8 * x[:, 3]),
    }
    return x, latency


@pytest.fixture(scope="module")
def known() -> KnownDevices:
    return fit_known(*invented())


def _world() -> World:
    x, latency = invented(300, 3)
    rng = np.random.default_rng(4)
    groups = rng.integers(150, size=300)
    x = x[groups % len(x)]
    latency = {name: y[groups % len(y)] for name, y in latency.items()}
    return World("invented", x, x[:, 0] * 1e3, groups, latency, {n: n for n in latency})


def test_known_devices_are_predicted_on_other_networks(known: KnownDevices) -> None:  # E18
    x, latency = invented(100, seed=1)
    predicted = np.exp(known.log_latency(x))
    for k, name in enumerate(known.names):
        assert np.abs(predicted[:, k] / latency[name] - 1).mean() < 0.03
    alone = known.only(["c"])
    np.testing.assert_allclose(alone.log_latency(x)[:, 0], known.log_latency(x)[:, 2])


def test_a_device_learns_from_the_networks_that_it_runs() -> None:
    x, latency = invented()
    latency["c"] = np.where(np.arange(len(x)) % 3 == 0, np.nan, latency["c"])
    known = fit_known(x, latency)
    assert (known.dual[::3, 2] == 0).all()
    assert np.abs(np.exp(known.log_latency(x)[::3, 2]) / invented()[1]["c"][::3] - 1).mean() < 0.05


@pytest.mark.parametrize("factor", [2.0, 0.01])
@pytest.mark.parametrize("method", ["scaled", "linear", "weighted"])
def test_a_device_that_is_a_multiple_of_a_known_one_is_recovered_from_ten_samples(
    method: str, factor: float, known: KnownDevices
) -> None:
    x, _ = invented(200, seed=2)
    true = factor * np.exp(known.log_latency(x)[:, 1])
    adapted = adapt(known, x[:10], true[:10], method)
    np.testing.assert_allclose(adapted.predict(x), true, rtol=1e-6)


def test_a_line_in_logarithms_is_recovered_and_scratch_does_without_devices(
    known: KnownDevices,
) -> None:
    x, _ = invented(200, seed=2)
    true = np.exp(0.3 + 1.6 * known.log_latency(x)[:, 2])
    error = {m: np.abs(adapt(known, x[:10], true[:10], m).predict(x) / true - 1) for m in METHODS}
    assert error["linear"].mean() < 0.01 < error["scaled"].mean()
    other = known.only(["a"])
    scratch = [adapt(k, x[:10], true[:10], "scratch").predict(x) for k in (known, other)]
    np.testing.assert_allclose(*scratch)


def test_weights_are_the_exact_posterior_of_a_line() -> None:
    """Against the textbook formula with a wide prior on the constant instead of none."""
    rng = np.random.default_rng(0)
    z, x, log_y = rng.normal(size=(8, 2)), rng.normal(size=(8, 3)), rng.normal(size=8)
    prior = Prior("mean", weights=0.7, residual=0.0, noise=0.2)
    at, middle = rng.normal(size=(5, 2)), z.mean(axis=0)
    design = np.c_[np.ones(8), z - middle]
    precision = np.diag([1e-10, 1 / 0.49, 1 / 0.49])
    expected = np.array([0.0, 0.5, 0.5])
    covariance = np.linalg.inv(design.T @ design / 0.04 + precision)
    weights = expected + covariance @ design.T @ (log_y - design @ expected) / 0.04
    wanted = np.c_[np.ones(5), at - middle] @ weights
    rows = np.c_[np.ones(5), at - middle]
    doubt = np.sqrt(np.einsum("ij,jk,ik->i", rows, covariance, rows))
    mean, deviation = condition(z, x, log_y, prior).predict(at, rng.normal(size=(5, 3)))
    np.testing.assert_allclose(mean, wanted, rtol=1e-6)
    np.testing.assert_allclose(deviation, doubt, rtol=1e-6)


def test_the_nearest_device_has_the_same_order(known: KnownDevices) -> None:
    x, _ = invented(40, seed=5)
    z = known.log_latency(x)
    assert [nearest(z, 3 * z[:, k] ** 3) for k in range(3)] == [0, 1, 2]
    assert nearest(z, np.zeros(40)) == 0


def test_more_samples_and_known_devices_help() -> None:
    x, latency = invented(400, seed=7)
    new = np.exp(0.5 * np.log(latency["a"]) + 0.5 * np.log(latency["b"]) + 0.05 * x[:, 3])
    known = fit_known(x[:160], {n: y[:160] for n, y in latency.items()})
    prior = learned_prior(known, x[:160], {n: y[:160] for n, y in latency.items()}, 10)
    error = {}
    for method, count in (("scratch", 10), ("weighted", 10), ("weighted", 50)):
        rows = np.random.default_rng(1).permutation(160)[:count]
        predicted = adapt(known, x[rows], new[rows], method, prior).predict(x[160:])
        error[method, count] = np.abs(predicted / new[160:] - 1).mean()
    assert error["weighted", 50] < error["weighted", 10] < 0.5 * error["scratch", 10]


def test_the_prior_is_learned_from_known_devices_alone(known: KnownDevices) -> None:
    x, latency = invented()
    prior = learned_prior(known, x, latency, 10)
    assert learned_prior(known, x, latency, 10) == prior
    assert learned_prior(known.only(["a"]), x, latency, 10) == Prior()


@pytest.mark.parametrize("method", METHODS)
def test_a_model_is_stored_and_read_back_to_the_bit(method: str, known: KnownDevices) -> None:
    x, latency = invented(40, seed=2)
    model = adapt(known, x[:10], latency["b"][:10], method).model_
    options = json.loads(json.dumps(model.options()))
    again = AdaptedModel.of(model.arrays(), options)
    for one, other in zip(model.predict(x), again.predict(x), strict=True):
        np.testing.assert_array_equal(one, other)
    arrays = model.arrays()
    for name in arrays:
        damaged = [
            {k: v for k, v in arrays.items() if k != name},
            arrays | {name: np.full_like(arrays[name], np.nan)},
            arrays | {name: np.concatenate([np.atleast_1d(arrays[name])] * 2)},
        ]
        for wrong in damaged:
            with pytest.raises(SurrogateFileError):
                AdaptedModel.of(wrong, options)
    prior = options["prior"]
    for hostile in (
        {},
        options | {"devices": ["a"]},
        options | {"devices": "abc"},
        options | {"prior": prior | {"length": 0.0}},
        options | {"prior": prior | {"noise": -1.0}},
        options | {"prior": prior | {"centre": "luck"}},
        options | {"prior": prior | {"more": 1.0}},
    ):
        with pytest.raises(SurrogateFileError):
            AdaptedModel.of(arrays, hostile)


def test_samples_are_checked(known: KnownDevices) -> None:
    x, latency = invented(10)
    y = latency["a"]
    wrong = [(x[:2], y[:2]), (x, -y), (x, y * np.nan), (x[:, :2], y), (x, y[:5]), (x[0], y[0])]
    for networks, measured in wrong:
        with pytest.raises(DatasetError):
            adapt(known, networks, measured)
    with pytest.raises(UnknownName, match="scaled"):
        adapt(known, x, y, "scale")
    with pytest.raises(NotFittedError):
        AdaptedLatency(known).predict(x)
    with pytest.raises(DatasetError, match="no known device"):
        fit_known(x, {})
    with pytest.raises(DatasetError, match="20 are needed"):
        fit_known(x, latency)
    x, latency = invented()
    with pytest.raises(DatasetError, match="not above 0"):
        fit_known(x, latency | {"d": -latency["a"]})
    assert clone(AdaptedLatency(known, "linear")).method == "linear"


@pytest.mark.parametrize("described", [False, True])
def test_a_taught_network_adapts_and_is_stored(described: bool, known: KnownDevices) -> None:
    pytest.importorskip("torch", reason="needs torch")
    x, latency = invented(200, seed=2)
    few, y = x[:10], latency["b"]
    others = known.only(["a", "c"])
    taught = teach(others, invented()[0], few if described else None)
    adapted = ConditionedLatency(taught, steps=60).fit(few, y[:10])
    error = np.abs(adapted.predict(x) / y - 1).mean()
    assert error < 0.6 * np.abs(np.median(y[:10]) / y - 1).mean()
    again = ConditionedModel.of(adapted.model_.arrays(), {})
    np.testing.assert_array_equal(again.predict(x)[0], adapted.predict(x))
    repeated = ConditionedLatency(teach(others, invented()[0], few if described else None), 60)
    np.testing.assert_array_equal(repeated.fit(few, y[:10]).predict(x), adapted.predict(x))
    with pytest.raises(SurrogateFileError):
        ConditionedModel.of(adapted.model_.arrays() | {"scale": np.zeros(4)}, {})
    with pytest.raises(DatasetError):
        ConditionedLatency(taught).fit(few, -y[:10])
    if described:
        with pytest.raises(DatasetError, match="reference networks"):
            ConditionedLatency(taught).fit(few[::-1], y[:10])


@pytest.mark.parametrize("name", SELECTIONS)
def test_selections_return_distinct_networks(name: str) -> None:
    x, latency = invented(60)
    z = np.log(np.stack(list(latency.values()), axis=1))
    for seed in range(5):
        chosen = SELECTIONS[name](x, z, 12, np.random.default_rng(seed))
        assert len(set(chosen.tolist())) == 12
        again = SELECTIONS[name](x, z, 12, np.random.default_rng(seed))
        np.testing.assert_array_equal(chosen, again)


def test_diverse_samples_lie_apart_and_quantiles_span_the_order() -> None:
    x, latency = invented(150)
    z = np.log(latency["a"])[:, None]

    def apart(rows: Array) -> float:
        distances = np.linalg.norm(rows[:, None] - rows[None], axis=2)
        return float(distances[np.triu_indices(len(rows), 1)].min())

    picked = {n: select(x, z, 10, np.random.default_rng(0)) for n, select in SELECTIONS.items()}
    assert apart(x[picked["diverse"]]) > 1.5 * apart(x[picked["random"]])
    ranks = np.argsort(np.argsort(z[:, 0]))[picked["quantiles"]]
    assert (ranks[0], ranks[-1]) == (0, 149)
    assert np.diff(ranks).min() > 10


# ------------------------------------------------------------------------------------ the protocol


def test_the_split_keeps_equal_networks_together() -> None:
    pool, test = split(_world())
    groups = _world().groups
    assert len(pool) > 50
    assert len(test) > 50
    assert not set(groups[pool]) & set(groups[test])


def test_the_comparison_of_an_invented_world(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="needs torch")
    world = _world()
    figures = compare(world, draws=2, counts=(10,))
    assert figures["devices"] == {"a": 2, "b": 2, "c": 2}
    ten = figures["selections"]["random"]["10"]
    assert set(ten) == set(WAYS)
    assert set(figures["selections"]) == set(SELECTIONS)
    for row in ten.values():
        for name in FIGURES:
            low, mean, high = row[name]
            assert low <= mean <= high
            device_means = [row["devices"][d][name][1] for d in figures["devices"]]
            assert mean == pytest.approx(np.mean(device_means))
    assert ten["linear"]["devices"]["a"]["spearman"][1] > 0.95
    assert ten["median"]["spearman"][1] == 0.0
    assert "| weighted |" in markdown({"invented": figures})
    draw({"invented": figures}, tmp_path / "transfer.png")
    assert (tmp_path / "transfer.png").read_bytes()[:4] == b"\x89PNG"


def test_a_device_never_learns_from_itself_or_its_family() -> None:
    world = ours(by_family=True)
    for device in world.targets:
        assert device not in world.known_to(device)
    ethos = [name for name in world.latency_ms if name.startswith("ethos")]
    assert len(ethos) == len(NPU) + 1
    assert all(not n.startswith("ethos") for name in ethos for n in world.known_to(name))
    assert LINE in world.known_to("host")
    assert LINE not in world.targets
    plain = ours()
    assert sorted(plain.known_to("host")) == sorted(set(plain.latency_ms) - {"host"})


def test_scores_and_intervals_by_hand() -> None:
    found = scores(np.array([1.0, 2.2, 3.0]), np.array([1.0, 2.0, 6.0]))
    assert found["mape"] == pytest.approx((0 + 0.1 + 0.5) / 3)
    assert found["median_ape"] == pytest.approx(0.1)
    assert found["spearman"] == 1.0
    assert found["within_10pct"] == pytest.approx(1 / 3, abs=0.34)
    low, mean, high = interval(np.array([1.0, 2.0, 3.0]))
    assert (mean, high - mean) == (2.0, pytest.approx(4.302653 / 3**0.5, rel=1e-5))
    assert mean - low == pytest.approx(high - mean)
    assert interval(np.array([4.0])) == [4.0, 4.0, 4.0]


def test_cells_by_hand() -> None:
    names = 5
    chain = cell_features(np.array([[3, 0, 2, 0, 0, 1], [3, 0, 0, 0, 0, 1], [0, 0, 0, 4, 0, 0]]))
    live = chain[:, 6 * names + names : 2 * 6 * names + names].reshape(3, 6, names).argmax(axis=2)
    np.testing.assert_array_equal(live[0], [3, 0, 2, 0, 0, 1])
    np.testing.assert_array_equal(live[1], [0, 0, 0, 0, 0, 0])  # node 1 leads nowhere
    np.testing.assert_array_equal(live[2], [0, 0, 0, 4, 0, 0])
    raw = chain[:, : 6 * names].reshape(3, 6, names).argmax(axis=2)
    np.testing.assert_array_equal(raw[1], [3, 0, 0, 0, 0, 1])


def test_worlds_of_others() -> None:
    needs(*NB201, "emnas/dataset_3.csv")
    nb201, six = cells(), original()
    assert len(nb201.x) == 15625
    assert np.isnan(nb201.latency_ms["edgetpu"]).sum() == 4699
    assert len(np.unique(nb201.groups)) == 6466
    assert set(six.targets) == {"sipeed", "jevois", "pc"}
    assert len(six.x) == 956


# ------------------------------------------------------------------------------------ our devices


def test_the_committed_devices_are_what_the_compiler_says() -> None:
    pytest.importorskip("ethosu.regor", reason="needs ethosu.regor")
    table = read_measured()
    assert set(table) == set(DEVICES)
    networks = list(table[NPU[0]])[:3]
    seen: dict[str, dict[tuple[int, ...], float]] = {}
    known = {NPU[1]: {networks[0]: 1.0}}
    measure(networks, known, lambda device, rows: seen.update({device: rows}), NPU[:2])
    assert seen[NPU[0]] == {n: table[NPU[0]][n] for n in networks}
    assert list(seen[NPU[1]]) == networks[1:]
    assert load_space("emnas-382").architecture(networks[0])


def test_a_table_of_devices_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "devices.npz"
    rows = {"a": {(1, 2): 0.5, (3,): 1.0}, "b": {(1, 2): -1.0, (3,): 2.0, (4,): 3.0}}
    write_measured(rows, path, "by hand")
    assert read_measured(path) == {"a": rows["a"], "b": {(1, 2): -1.0, (3,): 2.0}}
    with pytest.raises(StoreError, match="no network"):
        write_measured({"a": {(1,): 1.0}, "b": {(2,): 1.0}}, path, "")
    content = path.read_bytes()
    for wrong in (content[:100], b"", content[:-40]):
        path.write_bytes(wrong)
        with pytest.raises(StoreError, match="damaged"):
            read_measured(path)
    for place in range(0, len(content), 3):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x15]) + content[place + 1 :])
        with contextlib.suppress(StoreError):  # nothing else may come of a changed byte
            read_measured(path)
    with pytest.raises(StoreError):
        read_measured(tmp_path / "none.npz")


def test_commands_refuse_unknown_worlds() -> None:
    for command in ("transfer", "audit"):
        result = CliRunner().invoke(app, [command, "--world", "mars"])
        assert isinstance(result.exception, UnknownName)


def test_finished_parts_are_not_made_again(tmp_path: Path) -> None:
    path, made = tmp_path / "out" / "x.part", []

    def make() -> dict[str, int]:
        made.append(1)
        return {"value": len(made)}

    parts = Unfinished(path, {"draws": 3})
    assert parts.part("a", make) == {"value": 1}
    assert Unfinished(path, {"draws": 3}).part("a", make) == {"value": 1}
    assert Unfinished(path, {"draws": 4}).parts == {}
    assert Unfinished(None, {}).part("a", make) == {"value": 2}
    parts.finish()
    assert not path.exists()
    path.write_text('{"about": {"draws": 3}}', encoding="utf-8")
    with pytest.raises(StoreError, match="remove it"):
        Unfinished(path, {"draws": 3})


@pytest.mark.slow
def test_the_command_writes_its_page(tmp_path: Path) -> None:
    needs("emnas/dataset_3.csv")
    result = CliRunner().invoke(
        app, ["transfer", "--world", "dataset_3", "--draws", "2", "--out", str(tmp_path), "--json"]
    )
    assert result.exit_code == 0
    written = json.loads((tmp_path / "transfer.json").read_text(encoding="utf-8"))
    assert json.loads(result.stdout) == written["worlds"]
    assert "dataset_3" in (tmp_path / "transfer.md").read_text(encoding="utf-8")
