"""A user's measurements: what is wrong is named by its line, and nothing else gets in."""

from __future__ import annotations

import tempfile
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import emnas_gym  # noqa: F401
from emnas_gym import costs
from emnas_gym.errors import DatasetError, DomainError, UnknownName
from emnas_gym.space import SearchSpace
from emnas_gym.tasks import DIGITS
from predictors.cli import app
from predictors.user_table import VALUES, read_user_table


def _networks(space: SearchSpace, count: int = 22) -> list[str]:
    rng = np.random.default_rng(0)
    return [" ".join(map(str, space.sample(rng, DIGITS).tokens)) for _ in range(count)]


def _write(folder: Path, header: str, rows: list[str]) -> Path:
    path = folder / "mine.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("column", "text", "field", "value"),
    [
        ("latency_ms", "2.5", "latency_ms", 2.5),
        ("latency_us", "2500", "latency_ms", 2.5),
        ("latency_s", "0.0025", "latency_ms", 2.5),
        ("accuracy", "0.75", "accuracy", 0.75),
        ("accuracy_percent", "75", "accuracy", 0.75),
    ],
)
def test_units_stand_in_the_name_of_the_column(
    space: SearchSpace, tmp_path: Path, column: str, text: str, field: str, value: float
) -> None:  # E16
    networks = _networks(space)
    path = _write(tmp_path, f"note,{column},tokens", [f"x,{text},{t}" for t in networks])
    table = read_user_table(path, space, DIGITS)
    assert table.field == field
    assert table.values == pytest.approx([value] * 22)
    assert [" ".join(map(str, tokens)) for tokens in table.networks] == networks


def test_rows_that_were_not_measured_are_left_out_and_counted(
    space: SearchSpace, tmp_path: Path
) -> None:
    rows = [f"{t},{i + 1},{'timeout' if i == 3 else ''}" for i, t in enumerate(_networks(space))]
    table = read_user_table(_write(tmp_path, "tokens,latency_ms,error", rows), space, DIGITS)
    assert table.left_out == 1
    assert table.values.tolist() == [i for i in range(1, 23) if i != 4]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda rows: [*rows, rows[2].replace(",3.0", ",9.0")],
            "line 24: the same network as in line 4",
        ),
        (
            lambda rows: [rows[0].replace(",1.0", ",-1"), *rows[1:]],
            "line 2: latency_ms = -1 is no time",
        ),
        (lambda rows: [rows[0].replace(",1.0", ",nan"), *rows[1:]], "line 2: latency_ms = nan"),
        (lambda rows: [rows[0].replace(",1.0", ",fast"), *rows[1:]], "line 2: .* not 'fast'"),
        (lambda rows: [rows[0].replace(",1.0", ",1e9"), *rows[1:]], "line 2: .* no time between"),
        (lambda rows: [*rows[:5], "4 4 4 9999,1", *rows[5:]], "line 7: "),
        (lambda rows: [*rows[:5], "4;4;382,1", *rows[5:]], "line 7: tokens are whole numbers"),
        (lambda rows: [*rows[:5], "382,1", *rows[5:]], "line 7: "),
        (lambda rows: [*rows[:5], "1,2,3,4", *rows[5:]], "line 7: 4 values for 2 columns"),
        (lambda rows: rows[:19], "19 measured networks are too few"),
    ],
)
def test_what_is_wrong_is_named_by_its_line(
    space: SearchSpace, tmp_path: Path, change: object, message: str
) -> None:  # E16
    rows = [f"{t},{i + 1}.0" for i, t in enumerate(_networks(space))]
    path = _write(tmp_path, "tokens,latency_ms", change(rows))  # type: ignore[operator]
    with pytest.raises(DatasetError, match=message):
        read_user_table(path, space, DIGITS)


def test_all_complaints_come_at_once(space: SearchSpace, tmp_path: Path) -> None:
    path = _write(tmp_path, "tokens,accuracy", [f"{t},85" for t in _networks(space)])
    with pytest.raises(DatasetError, match="percent") as error:
        read_user_table(path, space, DIGITS)
    assert str(error.value).count("line ") == 10
    assert "and 12 more" in str(error.value)


def test_columns_are_missing_or_not_unique(space: SearchSpace, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has no value"):
        read_user_table(_write(tmp_path, "tokens,speed", ["4 382,1"]), space, DIGITS)
    with pytest.raises(DatasetError, match="has no column tokens"):
        read_user_table(_write(tmp_path, "network,latency_ms", ["4 382,1"]), space, DIGITS)
    both = _write(tmp_path, "tokens,latency_ms,accuracy", [f"{t},1,0.5" for t in _networks(space)])
    with pytest.raises(DatasetError, match="latency_ms and accuracy: choose"):
        read_user_table(both, space, DIGITS)
    assert read_user_table(both, space, DIGITS, "accuracy").field == "accuracy"
    with pytest.raises(UnknownName, match="latency_ms"):
        read_user_table(both, space, DIGITS, "latency")


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe\x00", b'tokens,latency_ms\n"4 382'])
def test_what_is_no_csv(space: SearchSpace, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    with pytest.raises(DatasetError):
        read_user_table(path, space, DIGITS)
    with pytest.raises(DatasetError):
        read_user_table(tmp_path / "none.csv", space, DIGITS)


CELLS = st.text(st.characters(codec="utf-8"), max_size=12) | st.sampled_from(
    ["4 4 4 382", "1e400", "-0", "٣", "4 4", "0x10", "1_0", "tokens", *VALUES]
)


@settings(max_examples=200, deadline=None)
@given(
    rows=st.lists(st.lists(CELLS, max_size=4).map(",".join), max_size=15) | st.binary(max_size=80)
)
def test_whatever_comes_is_read_or_refused(space: SearchSpace, rows: list[str] | bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.csv"
        if isinstance(rows, bytes):
            path.write_bytes(rows)
        else:
            text = "\n".join(["tokens,latency_ms", *rows])
            path.write_text(text, encoding="utf-8", newline="")
        try:
            table = read_user_table(path, space, DIGITS)
        except DatasetError:
            return
        assert (table.values > 0).all()
        assert len(table.networks) == len(table.values) >= 20


def test_from_a_table_to_the_reward(space: SearchSpace, tmp_path: Path) -> None:  # E14, E16
    """A board that takes 0.5 ms and 20 ns a MAC is learnt from its measurements."""
    rng = np.random.default_rng(5)
    networks = list({a.canonical: a for a in (space.sample(rng) for _ in range(60))}.values())
    macs = [costs.macs(a.graph(DIGITS)) for a in networks]
    pairs = zip(networks, macs, strict=True)
    rows = [f"{' '.join(map(str, a.tokens))},{500 + 0.02 * m:.3f}" for a, m in pairs]
    table, out = _write(tmp_path, "tokens,latency_us", rows), tmp_path / "board.json"
    arguments = ["fit", "--csv", str(table), "--device", "nrf5340", "--out", str(out)]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "sum over layers" in done.stdout
    env = gym.make("EmNAS-v0", device="nrf5340", budgets={}, evaluator=str(out))
    env.reset(seed=1)
    done_now = False
    while not done_now:
        legal = np.flatnonzero(env.get_wrapper_attr("action_masks")())
        _, _, done_now, _, info = env.step(int(rng.choice(legal)))
    measured = info["measurement"]
    assert measured["latency_ms"] == pytest.approx(0.5 + 20e-6 * measured["macs"], rel=0.1)
    with pytest.raises(DomainError, match="device"):
        gym.make("EmNAS-v0", device="rp2040", evaluator=str(out))
    without = CliRunner().invoke(app, ["fit", "--csv", str(table), "--out", str(out)])
    assert isinstance(without.exception, DatasetError), "a latency belongs to a device"
