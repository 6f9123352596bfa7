"""The page about tables says what is so: its example runs as printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from emnas_gym.table_columns import HEADER, KINDS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_example_runs_as_printed(tmp_path: Path) -> None:
    (tmp_path / "toy.csv").write_text(_blocks("csv")[0], encoding="utf-8")
    script = tmp_path / "example.py"
    script.write_text("".join(_blocks("python")), encoding="utf-8")
    code = f"import sys, runpy; sys.path.insert(0, {str(ROOT)!r}); runpy.run_path({str(script)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    episode, found, optimum = done.stdout.splitlines()
    regret, test, seconds = map(float, episode.split())
    assert regret >= 0
    assert test in (0.8, 0.73, 0.77, 0.6)
    assert seconds in (120, 80, 100, 60)
    assert " 0.0 [" in found, "four architectures: evolution finds the best"
    assert "networks=4" in optimum


def test_every_kind_of_column_and_key_is_described() -> None:
    for kind in KINDS:
        assert re.search(rf"\| `{kind}\b", PAGE), kind
    for key in HEADER:
        assert re.search(rf"`{key}`", PAGE), key
