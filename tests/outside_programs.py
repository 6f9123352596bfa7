"""Programs that a package of the system brings: tests that need one skip and name the package."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

PACKAGES = {
    "gcc": "gcc",
    "arm-none-eabi-gcc": "gcc-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
    "qemu-aarch64": "qemu-user",
    "/usr/share/firmware-microbit-micropython/firmware.hex": "firmware-microbit-micropython",
}


def needs_program(name: str) -> None:
    """Skips the test unless the program is there; where CI is set it fails."""
    if shutil.which(name) is None:
        _missing(name)


def needs_file(name: str) -> None:
    """Skips the test unless the file is there; where CI is set it fails."""
    if not Path(name).is_file():
        _missing(name)


def _missing(name: str) -> None:
    words = f"needs the package {PACKAGES[name]}"
    if os.environ.get("CI"):
        pytest.fail(words)
    pytest.skip(words)
