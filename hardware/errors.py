"""Errors that only the hardware folder raises."""

from __future__ import annotations

from collections.abc import Sequence

from emnas_gym.errors import EmNASError


class WeightsError(EmNASError, ValueError):
    """Weights that do not belong to the graph: a missing name, another shape, a NaN."""


class ModelFileError(EmNASError, ValueError):
    """A model file that is truncated, damaged, or uses what the reader does not know."""


class CompilerError(EmNASError, RuntimeError):
    """An NPU compiler that refused its configuration or its model."""


class DeviceError(EmNASError, RuntimeError):
    """A device that could not do what it was asked to."""


class DeviceLost(DeviceError):
    """The connection broke: unplugged, powered off, or the other end was closed."""


class DeviceTimeout(DeviceError):
    """No answer within the deadline, though the connection stands."""


class ProtocolError(DeviceError):
    """An answer that the protocol does not allow: another version, a size beyond all bounds."""


class DeviceRefused(DeviceError):
    """The device understood and said no; the message is in its own words."""


class FarmStopped(DeviceError):
    """No device of a farm is left.

    Args:
        message: What became of each device.
        answers: For each network what was measured until then, or None.
    """

    def __init__(self, message: str, answers: Sequence[object] = ()) -> None:
        super().__init__(message)
        self.answers = answers
