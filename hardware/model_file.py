"""Takes in .tflite files from outside without trusting them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hardware.errors import ModelFileError

IDENTIFIER = b"TFL3"
LEAST_BYTES = 32
MOST_BYTES = 256 << 20
TRIAL_SECONDS = 60.0


def check_content(content: bytes) -> None:
    """Checks what can be seen without an interpreter: size, identifier, root offset.

    Raises:
        ModelFileError: If the bytes are no .tflite file.
    """
    size = len(content)
    if not LEAST_BYTES <= size <= MOST_BYTES:
        raise ModelFileError(f"a model of {size} bytes: expected {LEAST_BYTES} to {MOST_BYTES}")
    if content[4:8] != IDENTIFIER:
        raise ModelFileError(f"no .tflite file: bytes 4 to 7 are {content[4:8]!r}, not 'TFL3'")
    root = int.from_bytes(content[:4], "little")
    if root < 8 or root > size - 4:
        raise ModelFileError(f"truncated .tflite file: its root lies at {root} of {size} bytes")


def read_model_file(path: Path) -> bytes:
    """Reads a .tflite file of unknown origin.

    The file is first run once in a process of its own, so that a file that crashes the interpreter
    takes only that process along.

    Args:
        path: The file.

    Returns:
        Its bytes, which an interpreter has run at least once.

    Raises:
        ModelFileError: If it cannot be read or run.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ModelFileError(f"{path} is larger than {MOST_BYTES} bytes")
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        check_content(content)
        _try_in_process(content)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error
    return content


def _try_in_process(content: bytes) -> None:
    """Runs the model on zeros in a child process."""
    command = [sys.executable, "-m", "hardware.model_file"]
    folder = Path(__file__).resolve().parent.parent
    try:
        trial = subprocess.run(
            command, input=content, capture_output=True, timeout=TRIAL_SECONDS, cwd=folder
        )
    except subprocess.TimeoutExpired as error:
        raise ModelFileError(f"does not finish one run in {TRIAL_SECONDS:g} s") from error
    if trial.returncode < 0:
        raise ModelFileError(f"crashes the interpreter (signal {-trial.returncode})")
    if trial.returncode > 0:
        lines = trial.stderr.decode(errors="replace").strip().splitlines()
        raise ModelFileError(f"cannot be run: {lines[-1] if lines else 'no reason given'}")


def _main() -> int:
    from hardware.interpreter import Model

    try:
        Model(sys.stdin.buffer.read()).invoke()
    except ModelFileError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
