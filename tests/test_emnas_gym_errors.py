"""Errors say what, where and what to do, cross processes, and end a command in one clear line."""

from __future__ import annotations

import inspect
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from emnas_gym import errors
from emnas_gym.door import print_json, run_door
from emnas_gym.errors import LISTED, DatasetError, EmNASError, UnknownName, nearest

ROOT = Path(__file__).parents[1]
ALL = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, EmNASError)]


def test_an_unknown_name_lists_the_nearest_first() -> None:
    error = UnknownName("device", "stm32f446", ["stm32f446re", "nrf5340", "host"], "See the list.")
    assert str(error) == ("unknown device 'stm32f446': did you mean stm32f446re? See the list.")
    assert (error.kind, error.name) == ("device", "stm32f446")
    assert error.known == ["host", "nrf5340", "stm32f446re"]
    assert isinstance(error, LookupError)


def test_with_none_near_all_are_listed_up_to_a_limit() -> None:
    assert nearest("zzz", ["b", "a"]) == " (known: a, b)"
    assert nearest("zzz", []) == ""
    many = [f"name{i:03}" for i in range(LISTED + 5)]
    assert nearest("zzz", many).endswith("name019 and 5 more)")


@given(st.text(), st.lists(st.text(), max_size=5), st.text())
def test_unknown_names_cross_processes(name: str, known: list[str], hint: str) -> None:
    error = UnknownName("suite", name, known, hint)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is UnknownName
    assert str(again) == str(error)
    assert again.known == error.known


@pytest.mark.parametrize("cls", ALL, ids=lambda cls: cls.__name__)
def test_every_error_crosses_processes_and_is_ours(cls: type[EmNASError]) -> None:
    error = cls("kind", "name", ["known"]) if cls is UnknownName else cls("what, where")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is cls
    assert str(again) == str(error)
    assert isinstance(again, EmNASError)


app = typer.Typer()


@app.command()
def command(what: str, count: int = 3) -> None:
    """Ends in the way that it is told."""
    endings: dict[str, BaseException] = {
        "error": DatasetError("no pictures: give a folder"),
        "interrupt": KeyboardInterrupt(),
        "defect": ZeroDivisionError("a defect"),
        "exit": typer.Exit(7),
    }
    if what in endings:
        raise endings[what]
    print_json({"count": float("nan") if what == "nan" else count})


def _door(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """The exit code."""
    monkeypatch.setattr(sys, "argv", ["door", *arguments])
    with pytest.raises(SystemExit) as end:
        run_door(app, "The same command goes on.")
    return end.value.code


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["error"], 2, "error: no pictures: give a folder\n"),
        (["interrupt"], 130, "interrupted. The same command goes on.\n"),
        (["exit"], 7, ""),
        ([], 2, "Missing argument"),
        (["x", "--count", "many"], 2, "--count"),
        (["x", "--cuont", "3"], 2, "No such option"),
    ],
)
def test_a_command_ends_with_a_clear_line_and_a_telling_code(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    assert _door(monkeypatch, *arguments) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(("what", "error"), [("defect", ZeroDivisionError), ("nan", ValueError)])
def test_a_defect_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch, what: str, error: type[Exception]
) -> None:
    monkeypatch.setattr(sys, "argv", ["door", what])
    with pytest.raises(error):
        run_door(app)


def test_json_is_exactly_one_object(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _door(monkeypatch, "x", "--count", "5") == 0
    said = capsys.readouterr()
    assert (json.loads(said.out), said.err) == ({"count": 5}, "")
    assert said.out.count("\n") == 1


PIPE = """
import typer
from emnas_gym.door import run_door
app = typer.Typer()

@app.command()
def command() -> None:
    for _ in range(100_000):
        print("many lines for a reader that has gone")

run_door(app)
"""


def test_a_reader_that_has_gone_is_no_defect() -> None:
    command = [sys.executable, "-c", PIPE]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    complaint = process.stderr.read().decode()
    assert process.wait(timeout=100) == 1
    assert "Traceback" not in complaint
