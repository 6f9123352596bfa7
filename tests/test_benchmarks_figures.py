"""`make bench` has a line for every file of figures, and what its lines call is there."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MADE = re.compile(r"`(python -m (?:benchmarks|predictors|hardware) [^`]+)` makes this")


@pytest.fixture(scope="module")
def lines() -> list[str]:
    """The commands of the project that `make bench` runs, in their order."""
    if shutil.which("make") is None:
        pytest.skip("needs the program make")
    done = subprocess.run(
        ["make", "-n", "bench", "PYTHON=python3"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = [line for line in done.stdout.splitlines() if "bin/python -m " in line]
    return [
        line[line.index("python -m ") :]
        for line in found
        if "-m pip" not in line and "venv " not in line
    ]


def test_every_command_of_it_is_understood(lines: list[str]) -> None:
    assert len(lines) >= 12
    for line in lines:
        _, _, folder, *words = shlex.split(line.partition(" > ")[0])
        command: Any = get_command(importlib.import_module(f"{folder}.cli").app)
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        command.make_context(line, words)  # raises on an unknown option, or a missing argument


def test_every_file_of_figures_has_a_line(lines: list[str]) -> None:
    whole = "\n".join(lines)
    files = sorted(DOCS.glob("*.json"))
    assert len(files) >= 9
    for path in files:
        page = path.with_suffix(".md")
        text = page.read_text(encoding="utf-8") if page.exists() else ""
        made = MADE.search(text)
        named = made is not None and path.name in text and made[1] in whole
        assert f"mv runs/figures/part.json docs/{path.name}" in whole or named, path.name


def test_what_pages_say_makes_them_is_what_is_run(lines: list[str]) -> None:
    said = {
        path.name: found
        for path in [ROOT / "README.md", *sorted(DOCS.glob("*.md"))]
        if (found := MADE.findall(path.read_text(encoding="utf-8")))
    }
    assert len(said) >= 6
    for page, commands in said.items():
        for command in commands:
            assert any(line.startswith(command) for line in lines), f"{page}: {command}"


def test_pictures_of_the_pages_come_from_pages_that_are_made(lines: list[str]) -> None:
    made = {
        path.stem for path in DOCS.glob("*.md") if MADE.search(path.read_text(encoding="utf-8"))
    }
    assert {path.stem for path in (DOCS / "images").glob("*.png")} <= made


def test_it_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    """What has left its mark is not done again, and a command that fails leaves a page whole."""
    if shutil.which("make") is None:
        pytest.skip("needs the program make")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    program, asked = tmp_path / ".venv" / "bin" / "python", tmp_path / "asked"
    program.parent.mkdir(parents=True)
    (tmp_path / "docs").mkdir()
    for name in ("headroom", "first"):
        (tmp_path / "docs" / f"{name}.json").write_text("old", encoding="utf-8")
    program.write_text(
        f'#!/bin/sh\necho "$*" >> {asked}\necho new\n'
        f'case "$*" in *headroom*) test -e {tmp_path}/healed ;; esac\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    (tmp_path / ".venv" / ".installed").touch()

    def bench() -> tuple[int, list[str]]:
        asked.write_text("", encoding="utf-8")
        done = subprocess.run(["make", "bench"], cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, asked.read_text(encoding="utf-8").splitlines()

    code, before = bench()
    assert code != 0
    assert "headroom" in before[-1]
    assert (tmp_path / "docs" / "headroom.json").read_text() == "old"
    assert (tmp_path / "docs" / "first.json").read_text() == "new\n"
    (tmp_path / "healed").touch()
    code, after = bench()
    assert code == 0
    assert "headroom" in after[0]
    assert not set(before[:-1]) & set(after), "done twice"
    assert (tmp_path / "docs" / "headroom.json").read_text() == "new\n"
    assert not (tmp_path / "runs" / "figures").exists(), "the next one begins anew"
    assert bench()[1] == [*before[:-1], *after]
