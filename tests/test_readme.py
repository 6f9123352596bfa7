"""The README tells the truth: its examples run, its commands and files are there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest
from typer.main import get_command

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
DOORS = re.findall(r"python -m (benchmarks|predictors|agents|hardware) ([a-z|]+)", README)


def test_the_examples_run_one_after_the_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(BLOCKS) >= 2
    scope: dict[str, object] = {}
    for block in BLOCKS:
        exec(compile(block.replace("20_000", "512"), "README.md", "exec"), scope)
    assert "accuracy" in capsys.readouterr().out


def test_the_commands_are_there() -> None:
    assert len(DOORS) >= 4
    for folder, commands in DOORS:
        app = importlib.import_module(f"{folder}.cli").app
        known = set(getattr(get_command(app), "commands", {}))
        assert set(commands.split("|")) <= known, folder


def test_the_files_are_there() -> None:
    named = re.findall(
        r"`((?:emnas_gym|hardware|predictors|agents|benchmarks|tests)/[\w./]*)`", README
    )
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert len(named) >= 8
    for path in [*named, *pictures]:
        assert (ROOT / path).exists(), path
