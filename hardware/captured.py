"""Catches what native libraries print behind Python's back."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def captured(descriptor: int) -> Iterator[list[str]]:
    """Collects all that is written to a file descriptor of this process.

    Args:
        descriptor: 1 for standard output, 2 for standard error.

    Yields:
        A list that holds the text once the block is left.
    """
    box: list[str] = []
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(descriptor)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), descriptor)
        try:
            yield box
        finally:
            os.dup2(saved, descriptor)
            os.close(saved)
            file.seek(0)
            box.append(file.read().decode(errors="replace"))
