"""README and docs tell the truth: their examples run, their commands and files are there."""

from __future__ import annotations

import importlib
import re
import textwrap
from pathlib import Path

import pytest
from typer.main import get_command

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)
PAGES = {
    path.name: blocks
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    if (blocks := CODE.findall(path.read_text(encoding="utf-8")))
}
DOORS = re.findall(r"python -m (benchmarks|predictors|agents|hardware) ([a-z|]+)", README)


SHORTER = {"README.md": ("20_000", "512")}  # all else runs exactly as printed
PRINTED = {
    "README.md": ["accuracy"],
    "bench.md": [],
    "extending.md": ["300 evaluations, ", "reward 0.", "(8, 15) (8, 383)"],
    "distributed.md": ["0."],
    "table-emnas-382.md": ["dict_keys(['ethos-u55-128', 'host'])"],
    "table-emnas-mobile-49.md": ["dict_keys("],
}
# test_emnas_gym_table_docs, test_emnas_gym_branched_docs, test_predictors_supernet_training
ELSEWHERE = {"tables.md", "cells.md", "supernet.md"}


@pytest.mark.parametrize("page", PRINTED)
def test_the_examples_run_one_after_the_other(
    page: str, capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest
) -> None:
    if page == "distributed.md":
        request.getfixturevalue("ray_cluster")
    scope: dict[str, object] = {"__name__": page}
    for block in PAGES[page]:
        code = block.replace(*SHORTER[page]) if page in SHORTER else block
        exec(compile(code, page, "exec", dont_inherit=True), scope)
    shown = capsys.readouterr().out
    assert all(words in shown for words in PRINTED[page]), shown


def test_pages_with_examples_are_run_unless_they_need_a_board() -> None:
    boards = set(PAGES) - set(PRINTED) - ELSEWHERE
    assert all(page.startswith("devices") for page in boards)
    for page in boards:
        for block in PAGES[page]:
            compile(textwrap.dedent(block), page, "exec")  # some stand in lists
    assert set(PRINTED) <= set(PAGES)
    assert len(PAGES["README.md"]) >= 2


def test_an_agent_and_a_backend_take_about_twenty_lines() -> None:
    agent, backend = (
        next(block for block in PAGES["extending.md"] if name in block)
        for name in ("class Climber", "class Roofline")
    )
    for block in (agent, backend):
        lines = [line for line in block.splitlines() if line.strip() and "import" not in line]
        assert len(lines) <= 22


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
