"""The commands around the fits, on a small table and on what is shipped."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from sklearn.base import clone
from typer.testing import CliRunner

from emnas_gym.devices import devices
from emnas_gym.errors import StoreError, UnknownName
from emnas_gym.fitted import what_to_do
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.registry import make_evaluator
from emnas_gym.surrogate import SurrogateEvaluator
from emnas_gym.surrogate_file import read_surrogate, shipped_folder
from predictors import accuracy_fit, fit_digits, fit_digits_mobile, latency_fit, predictor_fit
from predictors.cli import app
from predictors.distill import Lessons
from predictors.estimators.count import CountRegressor
from predictors.estimators.median import MedianRegressor
from predictors.estimators.pooled import PooledRegressor
from predictors.scales import OF_THE_ORIGINAL, digits_scales, steady, write_scales
from predictors.store import TableStore
from predictors.tables import Table, packed_path, unpack

runner = CliRunner()
QUICK = {"members": 1, "epochs": 2}


@pytest.fixture(scope="module")
def small() -> Table:
    """A part of the committed table, with made-up latencies."""
    table = unpack(packed_path("emnas-382", "digits"))
    networks = set(table.networks[:260])
    rows = tuple(row for row in table.trainings if row.tokens in networks)
    made_up = {tokens: {"latency_ms": 0.01 * len(tokens)} for tokens in networks}
    return replace(table, trainings=rows, costs={"host": made_up}, failures=())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits that take a second and predict badly."""
    fast = {k: clone(v).set_params(**QUICK) for k, v in accuracy_fit.SEARCHED.items()}
    monkeypatch.setattr(fit_digits, "SEARCHED", fast)
    monkeypatch.setattr(fit_digits, "STUDENT", PooledRegressor(4, 4, 4, epochs=2))
    monkeypatch.setattr(fit_digits, "LESSONS", Lessons(100, 20, 20, 2, 20, 20))
    monkeypatch.setattr(fit_digits, "COMPARED", {"seeds": (1,), "size": 20, "best": 5})
    monkeypatch.setattr(latency_fit, "READER", clone(latency_fit.READER).set_params(**QUICK))


def test_evaluate_prints_one_object() -> None:
    result = runner.invoke(app, ["evaluate", "--json"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    accuracy = figures["accuracy"]
    assert {"mae", "rmse", "tau", "spearman", "n_train", "n_test"} <= set(accuracy)
    assert set(accuracy["baselines"]) == {"median", "params", "macs"}
    assert accuracy["mae"] < accuracy["baselines"]["median"]["mae"] / 2
    assert accuracy["tau"] > accuracy["baselines"]["macs"]["tau"] + 0.2
    assert accuracy["tau"] > 0.75
    assert abs(accuracy["top_tenth"]["bias"]) < 0.02
    assert accuracy["noise_floor"]["n"] >= 100
    assert accuracy["teacher"]["tau"] > 0.75
    assert accuracy["student_and_teacher"]["met_by_search"]["n"] > 5000
    assert figures["k210_seed_split"]["mae_ms"] <= 13
    line = figures["latency"]["stm32f446re"]
    assert line["leave_one_model_out_relative"] == devices()["stm32f446re"].latency_error


def test_evaluate_and_table_as_tables() -> None:
    for command, word in (("evaluate", "noise_floor"), ("table", "trainings")):
        result = runner.invoke(app, [command])
        assert result.exit_code == 0, result.output
        assert word in result.stdout


def test_what_is_fitted_to_the_committed_table_of_the_other_space(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`fit --what digits-mobile` on a part of its table."""
    table = unpack(packed_path(fit_digits_mobile.SPACE, "digits"))
    networks = set(table.networks[:120])
    rows = tuple(row for row in table.trainings if row.tokens in networks)
    made_up = {tokens: {"latency_ms": 0.01 * len(tokens)} for tokens in networks}
    part = replace(table, trainings=rows, costs={"host": made_up}, failures=())
    fast = {"features": clone(accuracy_fit.FEW["features"]).set_params(**QUICK)}
    monkeypatch.setattr(fit_digits_mobile, "FEW", fast)
    monkeypatch.setattr(latency_fit, "READER", clone(latency_fit.READER).set_params(**QUICK))
    monkeypatch.setattr(fit_digits_mobile, "committed", lambda _: part)
    before = (shipped_folder().parent / "scales.toml").read_bytes()
    result = runner.invoke(app, ["fit", "--what", "digits-mobile", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    budgets = {"macs": fit_digits_mobile.MAX_MACS}
    problem = Problem.make("emnas-mobile-49", device="host", budgets=budgets)
    evaluator = SurrogateEvaluator.from_folder(problem, tmp_path)
    batch = [problem.space.architecture(tokens) for tokens in part.networks[:5]]
    for tokens, measured in zip(part.networks, evaluator.evaluate(batch), strict=False):
        assert measured.latency_ms == pytest.approx(0.01 * len(tokens), rel=0.2)  # type: ignore[union-attr]
    fitted = read_surrogate(tmp_path / "emnas-mobile-49_digits_accuracy.json")
    held_out = fitted.about["held_out"]
    assert held_out["n_train"] + held_out["n_test"] == 120
    assert "noise_floor" not in held_out  # one training each
    assert fitted.about["command"] == "python -m predictors fit --what digits-mobile"
    assert (shipped_folder().parent / "scales.toml").read_bytes() == before


def test_description_of_a_table_as_json() -> None:
    result = runner.invoke(app, ["table", "--json"])
    figures = json.loads(result.stdout)
    assert figures["networks"] >= 1500
    assert figures["bytes"] < 6 << 20
    assert sum(figures["lengths"].values()) == figures["networks"]
    assert figures["share_at_chance"] < 0.15
    assert figures["made_by"]["about"]["recipe"]
    missing = runner.invoke(app, ["table", "/nowhere.npz"])
    assert isinstance(missing.exception, StoreError)


def test_pack_writes_what_the_store_has(small: Table, tmp_path: Path) -> None:
    about = {key: small.about[key] for key in ("space", "task", "recipe")}
    with TableStore(tmp_path / "s.sqlite", about) as store:
        store.add_trainings(small.trainings)
    out = tmp_path / "t.npz"
    result = runner.invoke(app, ["pack", str(tmp_path / "s.sqlite"), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert unpack(out).trainings == small.trainings
    result = runner.invoke(app, ["pack", str(tmp_path / "none.sqlite")])
    assert isinstance(result.exception, StoreError)


def test_fit_writes_surrogates_that_the_environment_uses(
    small: Table, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_digits, "committed", lambda: small)
    before = (shipped_folder().parent / "scales.toml").read_bytes()
    result = runner.invoke(app, ["fit", "--what", "digits", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    problem = Problem.make(device="host")
    evaluator = SurrogateEvaluator.from_folder(problem, tmp_path)
    assert evaluator.provides == {"accuracy", "latency_ms"}
    assert evaluator.domain.device == "host"
    batch = [problem.space.architecture(tokens) for tokens in small.networks[:5]]
    for tokens, measured in zip(small.networks, evaluator.evaluate(batch), strict=False):
        assert measured.latency_ms == pytest.approx(0.01 * len(tokens), rel=0.2)  # type: ignore[union-attr]
    fitted = read_surrogate(tmp_path / "emnas-382_digits_accuracy.json")
    assert fitted.about["held_out"]["n_test"] == 260 - fitted.about["held_out"]["n_train"]
    assert set(fitted.about["chosen_by_cross_validation"]) == {"recurrent", "features"}
    assert fitted.model.kind == "pooled"
    assert fitted.about["held_out"]["teacher"]["kind"] in ("recurrent", "ensemble")
    assert fitted.about["held_out"]["student_and_teacher"]["drawn"]["n"] == 20
    assert (shipped_folder().parent / "scales.toml").read_bytes() == before


def test_a_collected_table_makes_a_predictor_as_the_advice_says(
    small: Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # D15
    """The very command that an error names, then the environment; accuracy and latency."""
    monkeypatch.chdir(tmp_path)
    quick = {"median": ("counts", MedianRegressor()), "macs": ("counts", CountRegressor("macs"))}
    monkeypatch.setattr(predictor_fit, "candidates", lambda *_: quick)
    about = {key: small.about[key] for key in ("space", "task", "recipe")}
    with TableStore(tmp_path / "table.sqlite", about) as store:
        store.add_trainings(small.trainings)
        store.add_costs("host", list(small.costs["host"].items()))
    advised = re.findall(r"`python -m predictors ([^`]*)`", what_to_do("emnas-382", "digits"))
    fit = advised[1].split()
    assert [command.split()[0] for command in advised] == ["collect", "fit"]
    assert runner.invoke(app, ["collect", *advised[0].split()[1:], "--help"]).exit_code == 0
    result = runner.invoke(app, fit)
    assert result.exit_code == 0, result.output
    fitted = read_surrogate(tmp_path / "fitted.json", any_name=True)
    assert (fitted.field, fitted.about["held_out"]["rows"]) == ("accuracy", 260)
    problem = Problem.make("emnas-382", "digits")
    networks = [problem.space.architecture(tokens) for tokens in small.networks[:5]]
    found = make_evaluator("fitted.json", problem).evaluate(networks)
    measured = [m for m in found if isinstance(m, Measurement)]
    assert [m.provenance["accuracy"] for m in measured] == ["predicted"] * 5
    result = runner.invoke(app, [*fit, "--device", "host"])
    assert result.exit_code == 0, result.output
    assert read_surrogate(tmp_path / "fitted.json", any_name=True).field == "latency_ms"
    for options, words in (
        (["--device", "cortex-m4"], "has no latencies on cortex-m4, but on host"),
        (["--space", "emnas-bench-8"], "is not a table of emnas-bench-8"),
        (["--csv", "rows.csv"], "not both"),
    ):
        result = runner.invoke(app, [*fit, *options])
        assert result.exit_code != 0
        assert words in str(result.exception) + result.output


def test_an_unknown_fit_names_the_known_ones() -> None:
    result = runner.invoke(app, ["fit", "--what", "digit"])
    assert isinstance(result.exception, UnknownName)
    assert "did you mean digits" in str(result.exception)


def test_scales_follow_from_the_table(small: Table, tmp_path: Path) -> None:
    scales = digits_scales(small, "emnas-382")
    write_scales(tmp_path / "s.toml", scales)
    data = tomllib.loads((tmp_path / "s.toml").read_text(encoding="utf-8"))
    assert data["grasp"]["sipeed-maix-bit"] == OF_THE_ORIGINAL["grasp.sipeed-maix-bit"]
    assert set(data["grasp"]) == {"sipeed-maix-bit", "jevois"}
    assert data["digits"] == {name.partition(".")[2]: row for name, row in scales.items()}
    assert "host" in data["digits"]
    for row in data["digits"].values():
        assert 0 < row["floor_ms"] < row["target_ms"] < row["cap_ms"]


def test_a_device_keeps_its_scales_unless_one_is_far_off() -> None:
    new = {"digits.a": {"target_ms": 1.0, "cap_ms": 9.0}, "digits.b": {"target_ms": 1.0}}
    near, far = {"target_ms": 1.04, "cap_ms": 9.1}, {"target_ms": 1.04, "cap_ms": 12.0}
    assert steady(new, {"a": near, "b": {"target_ms": 0.9}}) == new | {"digits.a": near}
    assert steady(new, {"a": far}) == new


def test_the_scales_that_are_shipped_are_those_of_the_committed_table() -> None:
    text = (shipped_folder().parent / "scales.toml").read_text(encoding="utf-8")
    shipped = tomllib.loads(text)["digits"]
    scales = digits_scales(fit_digits.committed(), "emnas-382")
    assert set(shipped) == {name.partition(".")[2] for name in scales}
    for name, row in shipped.items():
        assert row == pytest.approx(scales[f"digits.{name}"], rel=0.05)
