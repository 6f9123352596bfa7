"""Programs that a package of the system brings: tests that need one skip and name the package."""

from __future__ import annotations

import os
import shutil

import pytest

PACKAGES = {
    "gcc": "gcc",
    "arm-none-eabi-gcc": "gcc-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
    "qemu-aarch64": "qemu-user",
}


def needs_program(name: str) -> None:
    """Skips the test unless the program is there; where CI is set it fails."""
    if shutil.which(name) is None:
        words = f"needs the package {PACKAGES[name]}"
        if os.environ.get("CI"):
            pytest.fail(words)
        pytest.skip(words)
