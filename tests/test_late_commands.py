"""Doors that list their commands without importing them."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from test_import_cost import HEAVY, _loaded
from typer.testing import CliRunner

import benchmarks.cli
import predictors.cli
from emnas_gym.late_commands import LateCommand, add_late

DOORS = {"predictors": predictors.cli, "benchmarks": benchmarks.cli}
EVERY = [command for door in DOORS.values() for command in door.COMMANDS]


@pytest.mark.parametrize("late", EVERY, ids=lambda late: late.target)
def test_the_list_says_what_the_command_says(late: LateCommand) -> None:
    assert late.help == " ".join(late.load().help.split("\n\n")[0].split())


@pytest.mark.parametrize("door", DOORS)
def test_a_door_imports_none_of_its_commands(door: str) -> None:
    heavy = HEAVY - {"typer", "rich", "click"}
    assert _loaded(f"import {door}.cli") & heavy == set()


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "late_example.py").write_text(
        "import typer\n"
        "def add(numbers: list[int], times: int = 1) -> None:\n"
        '    """Adds numbers."""\n'
        "    print(sum(numbers) * times)\n"
        "    if not numbers[0]:\n"
        "        raise typer.Exit(3)\n"
        'group = typer.Typer(no_args_is_help=True, help="A group.")\n'
        'group.command("add")(add)\n'
        'group.command("again")(add)\n'
    )
    app = typer.Typer()
    late = LateCommand("add", "late_example:add", "Adds numbers.")
    add_late(app, [late, LateCommand("group", "late_example:group", "A group.")])
    return app


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["add", "1", "2", "--times", "3"], 0, "9"),
        (["add", "--times=3", "--", "-1", "2"], 0, "3"),
        (["add", "0"], 3, "0"),
        (["add", "--help"], 0, "Adds numbers."),
        (["add", "one"], 2, "numbers"),
        (["add", "1", "--tims", "3"], 2, "--tims"),
        (["group", "again", "4"], 0, "4"),
        (["group", "again", "0"], 3, "0"),
        (["group", "--help"], 0, "again"),
        (["--help"], 0, "A group."),
        (["ad"], 2, "ad"),
    ],
)
def test_a_late_command_is_like_any_other(
    door: typer.Typer, arguments: list[str], code: int, said: str
) -> None:
    result = CliRunner().invoke(door, arguments)
    assert result.exit_code == code, result.output
    assert said in result.output
