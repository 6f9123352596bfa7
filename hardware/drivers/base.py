"""What every driver can do, and what it brings back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Self

import numpy as np

from hardware.deployment import Deployment


@dataclass(frozen=True)
class Repeats:
    """How often a network runs.

    Attributes:
        timed: Runs that are timed.
        warm_up: Runs before them.
        seconds: Deadline of all of them together.
    """

    timed: int = 10
    warm_up: int = 2
    seconds: float = 60.0


@dataclass(frozen=True)
class Reading:
    """What a device said about one network.

    Attributes:
        ticks: Of its clock, one a timed run.
        ticks_per_second: Of that clock.
        provenance: ``"board"`` or ``"emulated-insn"``.
        arena_bytes: Bytes of activations that it used.
        stack_bytes: The most stack so far; 0 if it cannot know.
        firmware: CRC-32 of the device's program; 0 if it cannot know.
        model: CRC-32 of the .tflite file that ran.
    """

    ticks: tuple[int, ...]
    ticks_per_second: int
    provenance: str
    arena_bytes: int
    stack_bytes: int
    firmware: int
    model: int

    @property
    def median_ticks(self) -> float:
        """Median over the timed runs."""
        return float(np.median(self.ticks))

    @property
    def spread_ticks(self) -> float:
        """Interquartile range over the timed runs."""
        low, high = np.percentile(self.ticks, [25, 75])
        return float(high - low)

    @property
    def latency_ms(self) -> float:
        """Median time of a run."""
        return 1e3 * self.median_ticks / self.ticks_per_second


class Driver(ABC):
    """A connection to one device; a context manager that closes it."""

    @abstractmethod
    def measure(self, deployment: Deployment, repeats: Repeats) -> Reading:
        """Runs a network on the device and checks what it computed.

        Raises:
            DeviceError: If it cannot; `ProtocolError` if the output is not the right one.
        """

    @abstractmethod
    def close(self) -> None:
        """Releases the device."""

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Releases the device."""
        self.close()
