"""A driver that does as a test says, to see how farms meet failures; no device is behind it."""

from __future__ import annotations

import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from hardware.deployment import Deployment
from hardware.drivers.base import Driver
from hardware.errors import DeviceLost
from hardware.reading import Reading, Repeats


@dataclass
class Script:
    """What a device does, and what was asked of it.

    Attributes:
        ms: Milliseconds that each run takes by its own account.
        seconds: Seconds that a measurement really takes.
        before: Called before each measurement with its model's checksum; raises what should fail.
        opening: Called when the device is opened, likewise.
    """

    ms: float = 1.0
    seconds: float = 0.0
    before: Callable[[int], None] = lambda model: None
    opening: Callable[[], None] = lambda: None
    asked: Counter[int] = field(default_factory=Counter)
    opened: int = 0
    closed: int = 0
    busy: threading.Lock = field(default_factory=threading.Lock)


SCRIPTS: dict[str, Script] = {}


class ScriptedDriver(Driver):
    """The device of `SCRIPTS` under its address."""

    formats: ClassVar[tuple[str, ...]] = ()

    def __init__(self, address: str) -> None:
        self.script = SCRIPTS[address]
        self.script.opening()
        self.script.opened += 1
        self._open = True

    def describe(self) -> dict[str, str]:
        return {"name": "scripted"}

    def measure(self, deployment: Deployment, repeats: Repeats) -> Reading:
        if not self._open:
            raise DeviceLost("closed")
        assert self.script.busy.acquire(blocking=False), "two networks at once on one device"
        try:
            model = zlib.crc32(deployment.tflite)
            self.script.asked[model] += 1
            self.script.before(model)
            time.sleep(self.script.seconds)
            return Reading((1e3 * self.script.ms,) * repeats.timed, 1e6, "board", "none", model)
        finally:
            self.script.busy.release()

    def close(self) -> None:
        self.script.closed += self._open
        self._open = False
