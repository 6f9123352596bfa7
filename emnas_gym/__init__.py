"""Embedded neural architecture search as a standard Gymnasium environment."""

from __future__ import annotations

from typing import Any

import gymnasium as gym

from emnas_gym.architecture import Architecture
from emnas_gym.budgets import Budgets
from emnas_gym.devices import Device, devices
from emnas_gym.env import EmNASEnv
from emnas_gym.evaluator import Domain, Evaluator
from emnas_gym.ledger import Ledger
from emnas_gym.measurement import Measurement
from emnas_gym.play_env import EmNASPlayEnv
from emnas_gym.problem import Problem
from emnas_gym.space import SearchSpace, load_space
from emnas_gym.tasks import Task
from emnas_gym.vector_env import EmNASVectorEnv
from emnas_gym.version import __version__

__all__ = [
    "Architecture",
    "Budgets",
    "Device",
    "Domain",
    "EmNASEnv",
    "EmNASPlayEnv",
    "EmNASVectorEnv",
    "Evaluator",
    "Ledger",
    "Measurement",
    "Problem",
    "SearchSpace",
    "Task",
    "__version__",
    "devices",
    "load_space",
]

REGISTERED: dict[str, dict[str, Any]] = {
    "EmNAS-v0": {
        "space": "emnas-382",
        "task": "digits",
        "device": "stm32f446re",
        "budgets": {"ram_bytes": 8192, "flash_bytes": 32768},
    },
    "EmNASMobile-v0": {
        "space": "emnas-mobile-49",
        "task": "grasp",
        "device": "sipeed-maix-bit",
    },
    "EmNASTable-v0": {"table": "bench"},
    "EmNASCell-v0": {
        "space": "nb201-cell",
        "task": "digits",
        "device": "stm32f446re",
        "budgets": {"ram_bytes": 12288, "flash_bytes": 16384},
        "evaluator": "trained",
    },
    "EmNASBlock-v0": {
        "space": "lenna-block",
        "task": "digits",
        "device": "stm32f446re",
        "budgets": {"ram_bytes": 27648, "flash_bytes": 24576},
        "evaluator": "trained",
    },
    "EmNASPlay-v0": {
        "space": "emnas-382",
        "task": "digits",
        "device": "stm32f446re",
        "budgets": {"ram_bytes": 8192, "flash_bytes": 32768},
    },
}
_CLASSES: dict[str, tuple[str, str | None]] = {  # single and vector; others have the first ones
    "": ("emnas_gym.env:EmNASEnv", "emnas_gym.vector_env:EmNASVectorEnv"),
    "EmNASTable-v0": (
        "emnas_gym.table_env:EmNASTableEnv",
        "emnas_gym.vector_table_env:EmNASVectorTableEnv",
    ),
    "EmNASPlay-v0": ("emnas_gym.play_env:EmNASPlayEnv", None),
}
for _id, _kwargs in REGISTERED.items():
    if _id not in gym.registry:
        _single, _vector = _CLASSES.get(_id, _CLASSES[""])
        gym.register(id=_id, entry_point=_single, vector_entry_point=_vector, kwargs=_kwargs)
