"""Takes in .tflite files from outside without trusting them."""

from __future__ import annotations

from pathlib import Path

from hardware.apart import run_apart
from hardware.errors import ModelFileError

IDENTIFIER = b"TFL3"
LEAST_BYTES = 32
MOST_BYTES = 256 << 20


def check_content(content: bytes) -> None:
    """Checks what can be seen without an interpreter: size, identifier, root offset.

    Raises:
        ModelFileError: If the bytes are no .tflite file.
    """
    size = len(content)
    if not LEAST_BYTES <= size <= MOST_BYTES:
        raise ModelFileError(f"a model of {size} bytes: expected {LEAST_BYTES} to {MOST_BYTES}")
    if content[4:8] != IDENTIFIER:
        raise ModelFileError(f"no .tflite file: bytes 4 to 7 are {content[4:8]!r}, not b'TFL3'")
    root = int.from_bytes(content[:4], "little")
    if not 8 <= root <= size - 4:
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
            raise ModelFileError(f"{path}: larger than {MOST_BYTES} bytes")
        content = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    try:
        check_content(content)
        run_apart("hardware.try_model", content)
    except ModelFileError as error:
        raise ModelFileError(f"{path}: {error}") from error
    return content
