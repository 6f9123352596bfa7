"""Runs a program of the user's: without a shell, with a deadline, and with all that it starts."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

MOST_WORDS = 2000  # characters of its output that are passed on


def run_logged(
    command: Sequence[str], log: Path, seconds: float, folder: Path | None = None
) -> int:
    """Runs a program; its output goes to a file, since what it leaves running could hold a pipe.

    Args:
        command: Program and arguments.
        log: The file.
        seconds: Deadline; then it is killed with all that it started.
        folder: Where it runs; here if None.

    Returns:
        Its status; below 0 the number of the signal that ended it.

    Raises:
        TimeoutError: If it does not end.
        OSError: If it cannot be started.
    """
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired as error:
        raise TimeoutError(f"did not end in {seconds:g} s") from error
    finally:
        if process.poll() is None:
            _kill(process)


def last_words(log: Path) -> str:
    """The end of what it said, as it may be printed."""
    with log.open("rb") as file:
        file.seek(max(log.stat().st_size - MOST_WORDS, 0))
        text = file.read(MOST_WORDS).decode("utf-8", "replace").strip()
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text) or "no words"


def _kill(process: subprocess.Popen[bytes]) -> None:
    if os.name == "posix":
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()
