"""Devices with our own firmware: boards on a serial line, and boards that QEMU emulates."""

from __future__ import annotations

import zlib
from contextlib import ExitStack

from hardware.deployment import Deployment
from hardware.drivers.base import Driver, Reading, Repeats
from hardware.emulator import Board, Emulator
from hardware.errors import ProtocolError
from hardware.link.port import Port
from hardware.link.remote import INPUT, MODEL, OUTPUT, Remote
from hardware.link.session import Session


class FramedDriver(Driver):
    """A device that speaks the framed link.

    Args:
        target: URL of its port, or the board to emulate.
        baud: Symbols a second of a real line.

    Attributes:
        remote: The device.

    Raises:
        DeviceError: If the port cannot be opened, or the device does not answer as one of ours.
        BackendMissing: If pyserial or QEMU is not installed.
    """

    def __init__(self, target: str | Board, baud: int = 115_200) -> None:
        self.provenance = "board" if isinstance(target, str) else "emulated-insn"
        with ExitStack() as opened:
            url = target if isinstance(target, str) else opened.enter_context(Emulator(target)).url
            self.remote = Remote(Session(opened.enter_context(Port(url, baud=baud))))
            self._opened = opened.pop_all()

    def measure(self, deployment: Deployment, repeats: Repeats) -> Reading:
        """Uploads, runs, reads back and compares with the reference kernels, to the bit."""
        remote = self.remote
        remote.upload(MODEL, deployment.flat)
        remote.upload(INPUT, deployment.image)
        ticks = remote.run(repeats.timed, repeats.warm_up, repeats.seconds)
        if remote.download(OUTPUT, len(deployment.expected)) != deployment.expected:
            raise ProtocolError("the device's output is not that of the reference kernels")
        state, model = remote.state(), zlib.crc32(deployment.tflite)
        if state.source != model:
            raise ProtocolError(f"the device ran model {state.source:08x}, not {model:08x}")
        return Reading(
            ticks=tuple(ticks),
            ticks_per_second=remote.greeting.ticks_per_second,
            provenance=self.provenance,
            arena_bytes=state.arena_bytes,
            stack_bytes=state.stack_bytes,
            firmware=state.firmware,
            model=model,
        )

    def close(self) -> None:
        """Closes the port, and ends the emulator if there is one."""
        self._opened.close()
