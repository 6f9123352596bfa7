"""Every backend by name."""

from __future__ import annotations

import importlib

from emnas_gym.errors import UnknownName
from predictors.lenna.backends.base import NAMES, Backend, Settings

BACKENDS = {
    "simulated": "predictors.lenna.backends.simulated:SimulatedBackend",
    "torch": "predictors.lenna.backends.torch_cpu:TorchBackend",
    "litert": "predictors.lenna.backends.exported:LitertBackend",
    "npu": "predictors.lenna.backends.exported:NpuBackend",
    "qemu": "predictors.lenna.backends.exported:QemuBackend",
}


def make_backend(settings: Settings) -> Backend:
    """The backend of settings.

    Raises:
        UnknownName: If there is no such backend.
        BackendMissing: If what it needs is not installed.
    """
    if settings.backend not in NAMES:
        raise UnknownName("backend", settings.backend, NAMES)
    module, _, attribute = BACKENDS[settings.backend].partition(":")
    made: Backend = getattr(importlib.import_module(module), attribute)(settings)
    return made
