"""A line between two ends that loses, changes, doubles and delays bytes, by a seed."""

from __future__ import annotations

import os
import random
import select
import subprocess
import threading
import time
import tty
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from hardware.firmware_builder import build_native


@dataclass(frozen=True)
class Faults:
    """Chance of each fault for each byte, both ways.

    Attributes:
        drop: The byte is lost.
        flip: One of its bits changes.
        double: It comes twice.
        delay: The line stands still for `pause` seconds after it.
        pause: Seconds.
        seed: Decides which bytes.
    """

    drop: float = 0.0
    flip: float = 0.0
    double: float = 0.0
    delay: float = 0.0
    pause: float = 0.02
    seed: int = 0


class FaultyLine:
    """A tty at ``path``; what is written there reaches a program's standard input, and back.

    Args:
        program: Command of the device.
        faults: What happens on the way.

    Attributes:
        path: Where the host opens its port.
        count: Faults so far, by name.
        before: Told what the host sent before the device gets it, so that what it then does to
            the line is done before the device can answer.
    """

    def __init__(self, program: list[str], faults: Faults | None = None) -> None:
        self.faults = faults or Faults()
        self._host, far = os.openpty()
        tty.setraw(self._host)
        tty.setraw(far)
        self.path = os.ttyname(far)
        self._far = far  # kept open, so that closing the port does not end the line
        self.device = subprocess.Popen(
            program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.count = dict.fromkeys(("drop", "flip", "double", "delay"), 0)
        self._random = random.Random(self.faults.seed)
        self.stalled = False
        self.before: Callable[[bytes], None] | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._pump, daemon=True)
        self._thread.start()

    def _pump(self) -> None:
        assert self.device.stdin is not None
        assert self.device.stdout is not None
        to_device, from_device = self.device.stdin.fileno(), self.device.stdout.fileno()
        ways = {self._host: to_device, from_device: self._host}
        while not self._stop.is_set():
            ready, _, _ = select.select(list(ways), [], [], 0.02)
            for source in ready:
                if self.stalled:
                    time.sleep(0.01)
                    continue
                try:
                    data = os.read(source, 512)
                    if not data:
                        return
                    if source == self._host and self.before is not None:
                        self.before(data)
                    self._pass_on(ways[source], self._spoil(data))
                except OSError:
                    return

    def _pass_on(self, target: int, data: bytes) -> None:
        """Writes all; waits while nobody reads there, but not beyond the end of the line."""
        while data and not self._stop.is_set():
            _, ready, _ = select.select([], [target], [], 0.02)
            if ready:
                data = data[os.write(target, data[:64]) :]

    def _spoil(self, data: bytes) -> bytes:
        faults, out = self.faults, bytearray()
        for byte in data:
            if self._happens("drop", faults.drop):
                continue
            if self._happens("flip", faults.flip):
                byte ^= 1 << self._random.randrange(8)
            out.append(byte)
            if self._happens("double", faults.double):
                out.append(byte)
            if self._happens("delay", faults.delay):
                time.sleep(faults.pause)
        return bytes(out)

    def _happens(self, name: str, chance: float) -> bool:
        happens = self._random.random() < chance
        self.count[name] += happens
        return happens

    def unplug(self) -> None:
        """Closes the host's end, as a cable that is pulled."""
        self._stop.set()
        if threading.current_thread() is not self._thread:
            self._thread.join()
        os.close(self._host)
        os.close(self._far)
        self._host = self._far = -1

    def close(self) -> None:
        """Ends the device and the line."""
        self._stop.set()
        self._thread.join()
        self.device.kill()
        self.device.communicate()
        for end in (self._host, self._far):
            if end >= 0:
                os.close(end)

    def __enter__(self) -> Self:
        """The line itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.close()


CHECKED = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def compiled(folder: Path, *flags: str) -> list[str]:
    """Compiles the firmware for this machine and returns the command that runs it."""
    return [str(build_native(folder / "emnas-agent", *flags, optimise="-O1"))]
