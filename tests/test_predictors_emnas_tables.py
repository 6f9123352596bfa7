"""The original's tables: our graphs give their parameter counts, our tokens their layers."""

from __future__ import annotations

import json

import pytest
from data_files import EMNAS, TOKENS, needs

from emnas_gym import costs
from emnas_gym.errors import DatasetError
from emnas_gym.layers import LayerSpec
from emnas_gym.space import load_space
from emnas_gym.surrogate_file import read_surrogate, shipped_folder
from emnas_gym.tasks import GRASP
from predictors import fit_grasp, fit_mobile
from predictors.emnas_tables import (
    FILLED_IN_LATER,
    SPACES,
    hardware_rows,
    read_table,
    repeated_readings,
)
from predictors.evaluate import evaluate
from predictors.external import VARIABLE, read_rows

ROWS = {"dataset_3": 1000, "variable_length": 500, "dataset_7": 1000}


@pytest.mark.parametrize("name", SPACES)
def test_parameter_counts_of_every_row(name: str) -> None:  # A13
    needs(*EMNAS)
    space, rows = load_space(SPACES[name]), read_table(name)
    assert len(rows) == ROWS[name]
    for row in rows:
        counted = costs.params(space.build(row.tokens, GRASP))
        assert round(counted / 1000, 6) == round(row.params_k, 6), row.model_id


def _same(layer: list[object], spec: LayerSpec) -> bool:
    kind, *rest = layer
    if kind == "ZeroPadding2D":
        (top, bottom), (left, right) = rest[0]  # type: ignore[misc]
        return spec.kind == "pad" and spec.pads == (top, bottom, left, right)
    if kind == "Dense":
        return (spec.kind, [spec.units, spec.activation]) == ("dense", rest)
    if kind == "dropout":
        return (spec.kind, [spec.rate]) == ("dropout", rest)
    if kind not in ("Conv2D", "DepthwiseConv2D"):
        return spec.kind == "output"
    own: list[object] = [[spec.kernel] * 2, [spec.stride] * 2, spec.padding]
    if spec.kind == "conv" or not spec.batch_norm:
        own.insert(0, spec.filters)
    if not spec.batch_norm:
        own.append(spec.activation)
    return spec.kind == ("conv" if kind == "Conv2D" else "depthwise") and own == rest


@pytest.mark.parametrize("name", SPACES)
def test_every_token_is_the_layer_of_the_original(name: str) -> None:
    needs(*TOKENS)
    space = load_space(SPACES[name])
    rows = read_rows(f"emnas/{name}_tokens.csv", ("token", "layer_spec"))
    assert len(rows) >= min(space.num_tokens, 377)
    for row in rows:
        layer = json.loads(row["layer_spec"])
        assert _same(layer, space.spec(int(row["token"]))), row


def test_rows_of_the_original_fits() -> None:
    needs(*EMNAS)
    assert len(hardware_rows("sipeed_latency_ms", 2000)) == 956
    assert len(hardware_rows("jevois_latency_ms", 100)) == 972
    assert sum(row.accuracy is not None for row in read_table("dataset_3")) == 997
    assert sum(row.runs for row in read_table("dataset_7")) == 364
    assert sum(row.runs and row.accuracy is not None for row in read_table("dataset_7")) == 364


def test_readings_of_another_network_are_told() -> None:
    """In dataset_3 the rule finds exactly what the original filled in after its fit."""
    needs(*EMNAS)
    assert repeated_readings(read_table("dataset_3")) == FILLED_IN_LATER
    rows = read_table("dataset_7")
    repeated = repeated_readings(rows)
    assert len(repeated) == 50
    assert all(row.runs for row in rows if row.model_id in repeated)


def test_k210_latency_on_the_original_split() -> None:
    """Less than a tenth of the original's 125.655 ms, on its own test rows."""
    needs(*EMNAS)
    shipped = read_surrogate(shipped_folder() / "emnas-382_grasp_sipeed-maix-bit_latency_ms.json")
    figures = fit_grasp.latency_figures(shipped.model, "sipeed-maix-bit")
    assert (figures["n_train"], figures["n_test"]) == (860, 96)
    assert figures["mae_ms"] <= 10
    assert figures["tau"] >= 0.93
    assert figures["median_predictor_mae_ms"] == pytest.approx(141.54, abs=0.01)
    assert figures["mae_ms"] == pytest.approx(shipped.about["held_out"]["mae_ms"], rel=1e-3)


def test_k210_latency_is_fitted_again_the_same() -> None:
    needs(*EMNAS)
    shipped = read_surrogate(shipped_folder() / "emnas-382_grasp_sipeed-maix-bit_latency_ms.json")
    assert vars(fit_grasp.fit_board("sipeed-maix-bit").model) == vars(shipped.model)


def test_the_others_beat_their_baselines() -> None:
    needs(*EMNAS)
    figures = evaluate()
    assert figures["jevois_seed_split"]["mae_ms"] <= 0.80
    assert figures["jevois_seed_split"]["rmse_ms"] ** 2 <= 2.8
    for part in ("fixed", "variable"):
        found = figures["grasp_accuracy"][part]
        assert found["mae"] < found["seed_mae"] < found["mean_predictor_mae"]
    mobile = figures["mobile"]
    assert mobile["latency"]["mae_ms"] <= 40 < mobile["latency"]["median_predictor_mae_ms"]
    assert mobile["latency"]["read_anew"]["mae"] <= 12
    for winner in mobile["latency"]["outside_the_table"]:
        assert winner["predicted_ms"] == pytest.approx(winner["measured_ms"], rel=0.15)
    assert mobile["feasible"]["right"] > mobile["feasible"]["majority_right"] + 0.2
    assert mobile["accuracy"]["mae"] <= mobile["accuracy"]["median_predictor_mae"]
    assert fit_mobile.WINNERS_MS


def test_without_the_data_the_figures_of_the_fit_are_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    figures = evaluate()
    assert figures["k210_seed_split"]["mae_ms"] <= 10
    assert figures["k210_seed_split"]["computed"].startswith("by python -m predictors fit")
    assert figures["accuracy"]["computed"] == "now"
    with pytest.raises(DatasetError, match="set EMNAS_DATA"):
        fit_grasp.fit()
    with pytest.raises(DatasetError, match="set EMNAS_DATA"):
        fit_mobile.fit()
