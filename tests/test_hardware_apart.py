"""Processes of their own."""

from __future__ import annotations

from pathlib import Path

import pytest

from hardware.apart import run_apart
from hardware.errors import ModelFileError


def test_a_reader_that_crashes_takes_only_itself_along(tmp_path: Path) -> None:
    (tmp_path / "crasher.py").write_text("import os\nos.abort()\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        with pytest.raises(ModelFileError, match="signal 6"):
            run_apart("crasher", b"")


def test_a_reader_that_hangs_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text("import time\ntime.sleep(60)\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        with pytest.raises(ModelFileError, match="not finished after"):
            run_apart("sleeper", b"", seconds=0.3)


def test_a_reader_says_why_it_refuses(tmp_path: Path) -> None:
    (tmp_path / "refuser.py").write_text("import sys\nsys.exit('first line\\nthe reason')\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        with pytest.raises(ModelFileError, match=r"^the reason$"):
            run_apart("refuser", b"")


def test_what_a_reader_writes_comes_back(tmp_path: Path) -> None:
    (tmp_path / "echo.py").write_text(
        "import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read() + sys.argv[1].encode())\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        assert run_apart("echo", b"in ", ["argument"]) == b"in argument"
