"""Ten measurements of a board make a predictor of its latency that an environment takes."""

from __future__ import annotations

from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from typer.testing import CliRunner

import emnas_gym  # noqa: F401
from emnas_gym.architecture import Architecture
from emnas_gym.errors import DatasetError, DomainError, UnknownName
from emnas_gym.fitted import FittedEvaluator
from emnas_gym.models.adapted import AdaptedModel
from emnas_gym.models.inputs import encoding
from emnas_gym.models.kind_sums import WIDTH, kind_sums
from emnas_gym.space import SearchSpace, load_space
from emnas_gym.surrogate_file import read_surrogate
from emnas_gym.tasks import DIGITS, GRASP
from predictors.cli import app
from predictors.store import Tokens
from predictors.transfer.adapted import CHOSEN_AMONG
from predictors.transfer.measured import EMULATED, read_measured
from predictors.transfer.new_device import LEAST_SAMPLES, adapt_predictor

FACTOR, SAMPLES = 1.7, 10  # a board that is slower than the emulated one, all else alike


@pytest.fixture(scope="module")
def measured() -> dict[Tokens, float]:
    rows = {n: FACTOR * v for n, v in read_measured()[EMULATED].items() if v > 0}
    order = np.random.default_rng(5).permutation(len(rows))
    networks = list(rows)
    return {networks[i]: rows[networks[i]] for i in order}


def _csv(rows: dict[Tokens, float], path: Path, header: str = "tokens,latency_ms") -> Path:
    lines = [f"{' '.join(map(str, tokens))},{value}" for tokens, value in rows.items()]
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def test_ten_samples_make_an_evaluator(tmp_path: Path, measured: dict[Tokens, float]) -> None:
    # D16, E18
    few = dict(list(measured.items())[:SAMPLES])
    path = tmp_path / "board.json"
    board = "stm32u575zi"
    asked = ["adapt", "--csv", str(_csv(few, tmp_path / "ten.csv")), "--device", board]
    result = CliRunner().invoke(app, [*asked, "--out", str(path)])
    assert result.exit_code == 0, result.output
    stored = read_surrogate(path, any_name=True)
    assert isinstance(stored.model, AdaptedModel)
    assert board not in stored.model.known.names
    errors = stored.about["chosen_by_cross_validation"]
    assert errors["weighted"] < errors["median"]
    kept = stored.about["held_out"]["model"]
    assert kept in CHOSEN_AMONG
    assert f"{kept} (kept)" in result.output

    space = load_space("emnas-382")
    rest = list(measured.items())[SAMPLES : SAMPLES + 300]
    predicted, deviation = FittedEvaluator(path).predict([Architecture(space, t) for t, _ in rest])
    true = np.array([value for _, value in rest])
    apart = np.abs(predicted / true - 1)
    assert np.median(apart) < 0.15  # a plain multiple of a known device
    assert (deviation > 0).all()

    env = gym.make("EmNAS-v0", device=board, evaluator=str(path))
    _, info = env.reset(seed=0)
    over = False
    while not over:
        action = np.flatnonzero(info["action_mask"])[-1]
        _, _, terminated, truncated, info = env.step(action)
        over = terminated or truncated
    network = Architecture(space, tuple(int(t) for t in info["architecture"] if t))
    expected = FittedEvaluator(path).predict([network])[0][0]
    assert info["measurement"]["latency_ms"] == expected


def test_what_cannot_be_adapted_is_said(tmp_path: Path, measured: dict[Tokens, float]) -> None:
    space, rows = load_space("emnas-382"), list(measured.items())[:SAMPLES]
    networks, values = [t for t, _ in rows], [v for _, v in rows]
    with pytest.raises(DatasetError, match=str(LEAST_SAMPLES)):
        adapt_predictor(space, DIGITS, "host", networks[:3], values[:3])
    with pytest.raises(DomainError, match="fit --csv"):
        adapt_predictor(space, GRASP, "host", networks, values)
    with pytest.raises(DomainError, match="emnas-382"):
        adapt_predictor(load_space("emnas-mobile-49"), DIGITS, "host", networks, values)
    with pytest.raises(UnknownName, match="weighted"):
        adapt_predictor(space, DIGITS, "host", networks, values, method="weigthed")
    few = _csv(dict(rows), tmp_path / "accuracies.csv", "tokens,accuracy_percent")
    for device, message in (("host", "a latency"), ("hots", "host")):
        result = CliRunner().invoke(app, ["adapt", "--csv", str(few), "--device", device])
        assert message in str(result.exception)


def test_kind_sums_follow_behaviour_and_count_what_is_there(space: SearchSpace) -> None:
    rng = np.random.default_rng(0)
    batch = [space.sample(rng, DIGITS) for _ in range(40)]
    found = kind_sums(batch, DIGITS)
    assert found.shape == (40, WIDTH) == (40, encoding("kind_sums").columns(space))
    assert (found[:, -1] == [len(a.tokens) for a in batch]).all()
    twins = [Architecture(space, a.canonical) for a in batch]
    np.testing.assert_array_equal(kind_sums(twins, DIGITS), found)
    macs = [sum(node_macs(a)) for a in batch]
    np.testing.assert_allclose(found[:, -4], np.log2(1 + np.array(macs)), rtol=1e-9)


def node_macs(architecture: Architecture) -> list[float]:
    """MACs of each layer as the features describe it."""
    from emnas_gym.features import LAYER, layer_table

    table = layer_table(architecture.space, DIGITS)
    layers, lengths = table.gather([table.walk(architecture.canonical)])
    return [2.0**value for value in layers[0, : lengths[0], LAYER.index("macs")]]
