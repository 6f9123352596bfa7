"""Runs a module of this folder in a process of its own, on bytes that nobody vouches for.

Native readers may crash on damaged files; then only that process is lost.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from hardware.errors import ModelFileError

ROOT = Path(__file__).resolve().parent.parent


def run_apart(
    module: str, content: bytes, arguments: Sequence[str] = (), seconds: float = 60.0
) -> bytes:
    """Runs ``python -m module`` with ``content`` on its standard input.

    The module says on its standard error, in its last line, why it refuses the content.

    Args:
        module: Full name of a module.
        content: What it reads.
        arguments: Its command line.
        seconds: Deadline.

    Returns:
        What it wrote on its standard output.

    Raises:
        ModelFileError: If it refuses the content, crashes, or takes too long.
    """
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    command = [sys.executable, "-m", module, *arguments]
    try:
        done = subprocess.run(
            command, input=content, capture_output=True, timeout=seconds, env=environment
        )
    except subprocess.TimeoutExpired as error:
        raise ModelFileError(f"is not finished after {seconds:g} s") from error
    if done.returncode < 0:
        raise ModelFileError(f"crashes its reader (signal {-done.returncode})")
    if done.returncode > 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines()
        raise ModelFileError(lines[-1] if lines else "refused without a reason")
    return done.stdout
