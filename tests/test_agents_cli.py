from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.cli import main
from emnas_gym.history import History
from emnas_gym.problem import Problem
from emnas_gym.registry import TABLES

ROOT = Path(__file__).parent.parent
ENVIRONMENT = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "COLUMNS": "100"}
FORMULA = ("--evaluator", "tiny_worlds:Formula")
HELD = ("--evaluator", "tiny_worlds:HeldFormula")


def _start(*arguments: str, hold: Path | None = None) -> subprocess.Popen[str]:
    """Starts the command; it stands still in the midst for as long as the file `hold` is there."""
    if hold:
        hold.touch()
    command = [sys.executable, "-m", "agents", *arguments]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env=ENVIRONMENT | ({"TEST_HOLD": str(hold)} if hold else {}),
        cwd=ROOT,
    )


def _interrupt(process: subprocess.Popen[str], hold: Path) -> str:
    """Ctrl-C in the midst of a network; what the command says then."""
    process.send_signal(signal.SIGINT)
    hold.unlink()
    return process.communicate(timeout=300)[1]


def _run(*arguments: str) -> tuple[int, str, str]:
    """The command in a process of its own."""
    process = _start(*arguments)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """The command in this process, which is faster."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["agents", *arguments])
        monkeypatch.setenv("COLUMNS", "100")
        with pytest.raises(SystemExit) as left:
            main()
        captured = capsys.readouterr()
        return int(left.value.code or 0), captured.out, captured.err

    return run


def _search(call: Call, out: Path, *arguments: str) -> dict[str, Any]:
    code, stdout, stderr = call("search", "--out", str(out), "--json", *arguments)
    assert code == 0, stderr
    summary = json.loads(stdout)
    assert isinstance(summary, dict)
    return summary


def _rows(folder: Path) -> list[Any]:
    history = History(folder / "history.sqlite")
    try:
        return list(history.rows())
    finally:
        history.close()


def _wait_for_rows(path: Path, count: int) -> None:
    """Waits until another process has stored so many evaluations."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if path.exists():
            database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            try:
                stored = database.execute("SELECT COUNT(*) FROM evaluations").fetchone()[0]
            except sqlite3.OperationalError:
                stored = 0
            finally:
                database.close()
            if stored >= count:
                return
        time.sleep(0.05)
    raise AssertionError(f"{path} does not grow")


def test_list_names_every_agent(call: Call) -> None:
    code, out, _ = call("list", "--json")
    assert code == 0
    agents = json.loads(out)["agents"]
    assert {agent["name"] for agent in agents} >= set(TABLES["agent"])
    assert all(agent["summary"] for agent in agents)


def test_describe_explains_the_options(call: Call) -> None:
    code, out, _ = call("describe", "evolution", "--json")
    assert code == 0
    options = {option["name"]: option for option in json.loads(out)["options"]}
    assert options["population"]["default"] == 64
    code, out, _ = call("describe", "evolution")
    assert code == 0
    assert "population" in out
    assert "Real et al. 2019" in out


def test_search_writes_the_history_alone(call: Call, tmp_path: Path, problem: Problem) -> None:
    out = tmp_path / "run"
    option = ("--option", "population=10", "--option", "tournament=3")
    summary = _search(call, out, "--agent", "evolution", "--evaluations", "40", *option, *FORMULA)
    assert summary["evaluations"] == 40
    assert summary["config"]["population"] == 10
    rows = _rows(out)
    assert len(rows) == 40
    assert max(row.reward for row in rows) == summary["best"]["reward"]
    assert problem.automaton.fits(tuple(summary["best"]["tokens"]))
    files = {path.name for path in out.iterdir()}
    assert files <= {"history.sqlite", "history.sqlite.lock"}


def test_a_search_is_prolonged_and_answered_from_its_file(call: Call, tmp_path: Path) -> None:
    base = ("--agent", "random", "--seed", "3")
    short = _search(call, tmp_path / "a", *base, "--evaluations", "40", *FORMULA)
    assert (
        _search(call, tmp_path / "a", *base, "--evaluations", "40", *FORMULA)["best"]
        == short["best"]
    )
    _search(call, tmp_path / "a", *base, "--evaluations", "80", "--jsonl", *FORMULA)
    _search(call, tmp_path / "b", *base, "--evaluations", "80", *FORMULA)
    assert _rows(tmp_path / "a") == _rows(tmp_path / "b")
    lines = (tmp_path / "a" / "history.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 80
    assert json.loads(lines[0])["tokens"]


def test_ctrl_c_saves_and_the_same_command_goes_on(tmp_path: Path) -> None:
    arguments = ("search", "--agent", "evolution", "--evaluations", "150", *HELD)
    hold = tmp_path / "hold"
    cut = _start(*arguments, "--out", str(tmp_path / "cut"), hold=hold)
    _wait_for_rows(tmp_path / "cut" / "history.sqlite", 20)
    err = _interrupt(cut, hold)
    assert cut.returncode == 130
    assert "Traceback" not in err
    assert "goes on from there" in err
    stored = len(_rows(tmp_path / "cut"))
    assert 20 <= stored < 150
    assert f"{stored} of 150 evaluations are in" in err.replace("\n", " ")
    for folder in ("cut", "whole"):
        code, _, err = _run(*arguments, "--out", str(tmp_path / folder))
        assert code == 0, err
    assert _rows(tmp_path / "cut") == _rows(tmp_path / "whole")


def test_a_history_in_use_is_refused(tmp_path: Path) -> None:
    arguments = ("search", "--agent", "random", "--out", str(tmp_path / "run"), *HELD)
    hold = tmp_path / "hold"
    first = _start(*arguments, hold=hold)
    try:
        _wait_for_rows(tmp_path / "run" / "history.sqlite", 1)
        code, out, err = _run(*arguments)
    finally:
        _interrupt(first, hold)
    assert code == 2
    assert out == ""
    assert "in use" in err
    assert len(err.strip().splitlines()) == 1


def test_a_history_of_another_run_is_refused(call: Call, tmp_path: Path) -> None:
    base = ("search", "--agent", "random", "--evaluations", "5", "--out", str(tmp_path), *FORMULA)
    assert call(*base)[0] == 0
    code, _, err = call(*base, "--seed", "1")
    assert code == 2
    assert "seed" in err
    assert len(_rows(tmp_path)) == 5


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (("--agent", "evoluton"), "did you mean evolution"),
        (("--env", "EmNAS-v9"), "EmNAS-v0"),
        (("--agent", "evolution", "--option", "popul=3"), "population"),
        (("--agent", "evolution", "--option", "population=x"), "whole number"),
        (("--agent", "random", "--budget", "ram_bytes=1"), "no network"),
        (("--agent", "random", "--budget", "ram=1"), "ram_bytes"),
        (("--agent", "random", "--budget", "ram_bytes"), "name=number"),
        (("--agent", "random", "--evaluator", "surogate"), "surrogate"),
    ],
)
def test_bad_input_is_one_line_and_code_2(
    call: Call, tmp_path: Path, arguments: tuple[str, ...], answer: str
) -> None:
    code, out, err = call("search", "--out", str(tmp_path / "x"), "--json", *arguments)
    assert (code, out) == (2, "")
    assert answer in err
    assert len(err.strip().splitlines()) == 1
    assert not (tmp_path / "x").exists()


def test_wrong_usage_is_code_2(call: Call) -> None:
    assert call("search", "--evaluations", "0")[0] == 2
    assert call("search", "--nonsense")[0] == 2
    assert call("dance")[0] == 2


def test_help_teaches(call: Call) -> None:
    code, out, _ = call("search", "--help")
    assert code == 0
    assert "goes on where it stopped" in " ".join(out.split())
