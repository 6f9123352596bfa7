"""Errors that only the hardware folder raises."""

from __future__ import annotations

from emnas_gym.errors import EmNASError


class WeightsError(EmNASError, ValueError):
    """Weights that do not belong to the graph: a missing name, another shape, a NaN."""


class ModelFileError(EmNASError, ValueError):
    """A model file that is truncated, damaged, or uses what the reader does not know."""


class CompilerError(EmNASError, RuntimeError):
    """An NPU compiler that refused its configuration or its model."""
