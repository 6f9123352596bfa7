"""Versions of what produced a result."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from emnas_gym.version import __version__

PACKAGES = (
    "numpy", "gymnasium", "torch", "scikit-learn", "stable-baselines3", "sb3-contrib",
    "ai-edge-litert", "ethos-u-vela", "matplotlib", "scipy", "rliable",
)  # fmt: skip


def versions() -> dict[str, str]:
    """Versions of Python, of the project and of the packages that are installed."""
    found = {"python": platform.python_version(), "emnas-gym": __version__}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
