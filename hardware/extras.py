"""Imports optional packages when they are used; one that is missing is an error with a command."""

from __future__ import annotations

import importlib
from types import ModuleType

from emnas_gym.errors import BackendMissing
from emnas_gym.registry import EXTRAS


def load(module: str) -> ModuleType:
    """Imports a module of an optional package.

    Args:
        module: Full name of the module.

    Raises:
        BackendMissing: If it is not installed, saying which command installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise BackendMissing(f"{module} cannot be imported ({error}); {advice(package)}") from error


def advice(package: str) -> str:
    """How to install a package."""
    extra = EXTRAS.get(package)
    return f"pip install 'emnas-gym[{extra}]'" if extra else f"pip install {package}"
