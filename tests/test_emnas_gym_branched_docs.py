"""The page about cells says what is so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

from emnas_gym.branched import CellSpace
from emnas_gym.space import CellSpaceName, load_space, resolve_space
from emnas_gym.testing import check_search_space

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "cells.md").read_text(encoding="utf-8")


def _blocks(language: str) -> str:
    return "".join(re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL))


def test_the_example_runs_as_printed(tmp_path: Path) -> None:
    script = tmp_path / "example.py"
    script.write_text(_blocks("python"), encoding="utf-8")
    code = f"import sys, runpy; sys.path.insert(0, {str(ROOT)!r}); runpy.run_path({str(script)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    shape, legal = done.stdout.splitlines()
    assert shape == "(10,)"
    assert 0 < int(legal.split()[0]) <= 11


def test_the_file_is_a_space(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(_blocks("toml"), encoding="utf-8")
    space = resolve_space(path)
    assert isinstance(space, CellSpace)
    assert space.size() == 4**3 * (2**2 * 4)
    check_search_space(space, samples=10)


def test_every_shipped_space_stands_in_the_table_with_its_positions() -> None:
    names: tuple[CellSpaceName, ...] = get_args(CellSpaceName)
    for name in names:
        row = re.search(rf"^\| `{name}` \|.*\| (\d+) \|", PAGE, re.MULTILINE)
        assert row and int(row[1]) == load_space(name).max_layers, name
