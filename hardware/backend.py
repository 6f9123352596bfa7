"""The one module that knows the interpreters; it needs numpy alone, and goes along to boards.

ai-edge-litert is preferred. tflite-runtime, its predecessor, works with numpy below 2 only, and is
the one that 32-bit boards have.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Backend:
    """One installed interpreter.

    Attributes:
        name: Name of its package on the index.
        module: The module that has ``Interpreter`` and ``OpResolverType``.
    """

    name: str
    module: Any


def find_backend() -> Backend:
    """The interpreter of this machine.

    Raises:
        ImportError: If there is none that works.
    """
    try:
        return Backend("ai-edge-litert", importlib.import_module("ai_edge_litert.interpreter"))
    except ImportError as error:
        missing = f"ai-edge-litert cannot be imported ({error})"
    if int(np.__version__.partition(".")[0]) >= 2:
        # tflite-runtime imports with numpy 2 and fails only when an interpreter is made
        raise ImportError(f"{missing}; tflite-runtime would need 'numpy<2'")
    try:
        return Backend("tflite-runtime", importlib.import_module("tflite_runtime.interpreter"))
    except ImportError:
        raise ImportError(missing) from None
