"""Runs the model on standard input once, in a process of its own that a bad file may take along."""

from __future__ import annotations

import sys

from hardware.errors import ModelFileError
from hardware.interpreter import Model


def main() -> int:
    """Exit code 0 if the model runs; else 1, and the reason on standard error."""
    try:
        Model(sys.stdin.buffer.read()).invoke()
    except ModelFileError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
