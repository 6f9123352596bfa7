"""Data cards of the tables of sampled networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from matplotlib.image import imread
from typer.testing import CliRunner

from emnas_gym import costs
from emnas_gym.errors import StoreError
from emnas_gym.space import load_space
from emnas_gym.surrogate_file import read_surrogate, shipped_folder, surrogate_names
from emnas_gym.tasks import DIGITS
from predictors import fit_digits, fit_digits_mobile
from predictors.cli import app
from predictors.sampled_table import card, describe_table
from predictors.tables import pack, packed_path, unpack

DOCS = Path(__file__).parents[1] / "docs"
MOBILE = fit_digits_mobile.SPACE
SPACES = (fit_digits.SPACE, MOBILE)
IMAGES = (359, 360)


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first networks of the committed table: one training of each, some without int8."""
    table = unpack(packed_path("emnas-382", "digits"))
    rows = [row for row in table.trainings if row.seed == 0][:40]
    rows = [replace(row, int8_accuracy=None) if i % 4 else row for i, row in enumerate(rows)]
    small = replace(table, trainings=tuple(rows), costs={}, failures=())
    path = tmp_path_factory.mktemp("few") / "few.npz"
    pack(small, path, IMAGES, "by hand")
    return path


@pytest.mark.parametrize("space", SPACES)
def test_the_cards_are_made_of_the_committed_tables(space: str) -> None:  # E16
    page = DOCS / f"table-{space}.md"
    figures = describe_table(packed_path(space, "digits"))
    image = Path("images") / f"table-{space}.png"
    assert page.read_text(encoding="utf-8") == card(figures, space, image)
    assert (DOCS / image).exists()


def test_what_is_fitted_to_small_networks_says_so() -> None:  # E16
    """No network of that table is larger than its surrogates say, and all of them are in use."""
    table, space = fit_digits.committed(MOBILE), load_space(MOBILE)
    macs = [costs.macs(space.build(tokens, DIGITS)) for tokens in table.networks]
    assert len(macs) == 1000
    assert max(macs) <= fit_digits_mobile.MAX_MACS < 1.05 * max(macs)
    fitted = [name for name in surrogate_names(shipped_folder()) if f"{MOBILE}_digits" in name]
    assert len(fitted) == 3
    for name in fitted:
        surrogate = read_surrogate(shipped_folder() / f"{name}.json")
        held_out = surrogate.about["held_out"]
        assert surrogate.max_macs == fit_digits_mobile.MAX_MACS
        assert held_out["n_train"] + held_out["n_test"] == 1000


def test_figures_of_a_few_trainings(few: Path) -> None:
    table, figures = unpack(few), describe_table(few)
    rows = table.trainings
    known = [row.int8_accuracy - row.test_accuracy for row in rows if row.int8_accuracy is not None]
    assert figures["int8_minus_float"]["n"] == len(known) == 10
    assert figures["int8_minus_float"]["mean"] == pytest.approx(sum(known) / 10, abs=1e-6)
    assert figures["int8_minus_float"]["worst"] == pytest.approx(min(known), abs=1e-6)
    hours = sum(row.seconds for row in rows) / 3600
    assert figures["training_hours"] == pytest.approx(hours, rel=1e-5)
    off = [abs(row.curve[-1] - row.test_accuracy) for row in rows]
    assert figures["validation_and_test"]["mae"] == pytest.approx(sum(off) / 40, rel=1e-5)
    assert figures["noise_floor"]["n"] == 0
    assert figures["costs"] == {}


def test_counted_instructions_several_seeds_and_whole_spaces_are_described(tmp_path: Path) -> None:
    table = unpack(packed_path("emnas-382", "digits"))
    first = [row for row in table.trainings if row.seed == 0][:6]
    rows = [replace(row, seed=seed, origin="enumerated") for row in first for seed in range(3)]
    counted = {row.tokens: {"instructions": 1000.0 * (i + 1)} for i, row in enumerate(first)}
    small = replace(table, trainings=tuple(rows), costs={"cortex-m4": counted}, failures=())
    path = tmp_path / "emnas-382_few.npz"
    pack(small, path, IMAGES, "by hand")
    figures = describe_table(path)
    quantiles = figures["costs"]["cortex-m4"]["instructions_quantiles"]
    assert (quantiles["0 %"], quantiles["100 %"]) == (1000, 6000)
    text = card(figures, "emnas-382", Path("images/few.png"))
    assert "| instructions on `cortex-m4`, 6 networks | 1,000 | 1,250 | 3,500 | 5,750 |" in text
    assert "18 trainings." in text
    assert "all that\n  the space has" in text
    assert "A sample" not in text


def test_a_card_of_ones_own_table(few: Path, tmp_path: Path) -> None:
    command = ["table", str(few), "--card", str(tmp_path / "mine.md")]
    missing = CliRunner().invoke(app, command)
    assert missing.exit_code != 0
    wrong = CliRunner().invoke(app, [*command, "--space", "emnas-mobile-49"])
    assert isinstance(wrong.exception, StoreError)
    assert "name its space with --space" in str(wrong.exception)
    assert not (tmp_path / "mine.md").exists()
    done = CliRunner().invoke(app, [*command, "--space", "emnas-382"])
    assert done.exit_code == 0, done.output
    text = (tmp_path / "mine.md").read_text(encoding="utf-8")
    assert "40 trainings, one of each" in text
    assert "(10 trainings)" in text
    assert "host" not in text
    assert "committed(" not in text
    assert imread(tmp_path / "images" / "mine.png").shape[1] > 600
