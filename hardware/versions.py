"""Versions of what is installed beside the project."""

from __future__ import annotations

import importlib.metadata
import shutil
import subprocess

from hardware.interpreter import backend


def package_version(name: str) -> str:
    """Version of an installed distribution; empty if there is none."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def program_version(name: str) -> str:
    """The last word of the first line that ``name --version`` prints; empty if it is not there."""
    path = shutil.which(name)
    if path is None:
        return ""
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "?"
    words = done.stdout.partition("\n")[0].split()
    return words[-1].strip("()") if words else "?"


def interpreter_version() -> str:
    """Name and version of the interpreter that is used."""
    name = backend().name
    return f"{name} {package_version(name)}"


def compiler_version() -> str:
    """Name and version of the NPU compiler."""
    return f"ethos-u-vela {package_version('ethos-u-vela')}"
