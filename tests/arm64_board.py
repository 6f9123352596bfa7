"""A Linux board of the kind of a Raspberry Pi 4: an arm64 system in a folder, run by QEMU."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

DEBS = (
    "python3.11-minimal",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "libc6",
    "libgcc-s1",
    "libstdc++6",
    "zlib1g",
    "libexpat1",
    "libssl3",
    "libffi8",
    "libbz2-1.0",
    "liblzma5",
    "libcrypt1",
    "libuuid1",
)
WHEELS = ("tflite-runtime==2.14.0", "numpy<2", "pyserial")
PLATFORMS = ("manylinux_2_34_aarch64", "manylinux_2_17_aarch64", "manylinux2014_aarch64")


def make_system(folder: Path) -> Path:
    """Downloads and unpacks Debian's Python and the agent's packages for arm64; needs no root.

    Args:
        folder: An empty folder.

    Returns:
        It.
    """
    apt, debs = folder / "apt", folder / "debs"
    for path in (apt / "lists" / "partial", apt / "cache" / "archives" / "partial", debs):
        path.mkdir(parents=True)
    options = ["-q", "-o", "APT::Architecture=arm64", "-o", "APT::Architectures=arm64"]
    options += ["-o", "Dir::State::status=/dev/null", "-o", f"Dir::State::lists={apt}/lists"]
    options += ["-o", f"Dir::Cache={apt}/cache", "-o", "APT::Sandbox::User=root"]
    _run(["apt-get", *options, "update"], folder)
    _run(["apt-get", *options, "download", *DEBS], debs)
    for package in debs.glob("*.deb"):
        _run(["dpkg", "-x", str(package), str(folder / "root")], folder)
    download = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", "wheels"]
    download += ["--python-version", "3.11", "--only-binary", ":all:"]
    for platform in PLATFORMS:
        download += ["--platform", platform]
    _run([*download, *WHEELS], folder)
    for wheel in (folder / "wheels").glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder


def agent_command(folder: Path, bundle: Path) -> list[str]:
    """Runs the agent's one file on the emulated board, on standard input and output."""
    root = folder / "root"
    command = ["qemu-aarch64", "-cpu", "cortex-a72", "-L", str(root)]
    command += ["-E", f"PYTHONHOME={root}/usr", "-E", f"PYTHONPATH={folder}/site"]
    return [*command, f"{root}/usr/bin/python3.11", str(bundle), "--stdio"]


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{command}: {done.stderr}"
