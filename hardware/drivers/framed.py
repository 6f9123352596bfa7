"""Devices with our own firmware: boards on a serial line, and boards that QEMU emulates."""

from __future__ import annotations

import zlib
from contextlib import ExitStack
from typing import ClassVar

from emnas_gym.errors import UnknownName
from hardware.deployment import Deployment
from hardware.drivers.base import FOREIGN_STEPS, Driver
from hardware.emulator import BOARDS, Emulator
from hardware.errors import ProtocolError
from hardware.link.port import Deadline, Port
from hardware.link.remote import INPUT, MODEL, MOST_REPEATS, OUTPUT, TFLITE, Remote
from hardware.link.session import Session
from hardware.reading import Reading, Repeats


class FramedDriver(Driver):
    """A board that speaks the framed link: our firmware, or a Linux board with our agent.

    Our firmware must compute what the reference kernels do, to the bit. An interpreter on a Linux
    board has kernels of its own, whose output may differ by some steps.

    Args:
        address: URL of its port: ``/dev/ttyUSB0``, ``socket://host:port``.
        baud: Symbols a second of a real line.
        seconds: Deadline of each request but for runs, which have one of their own.
        tolerance: Steps of the output by which an interpreter on a board may differ.

    Attributes:
        remote: The device.

    Raises:
        DeviceError: If the port cannot be opened, or the device does not answer as one of ours.
        BackendMissing: If pyserial is not installed.
    """

    formats: ClassVar[tuple[str, ...]] = ("flat",)
    provenance: ClassVar[str] = "board"
    clock: ClassVar[str] = "the board's own counter"

    def __init__(
        self,
        address: str,
        baud: int = 115_200,
        seconds: float = 5.0,
        tolerance: int = FOREIGN_STEPS,
    ) -> None:
        self.tolerance = tolerance
        with ExitStack() as opened:
            port = opened.enter_context(Port(address, baud=baud))
            self.remote = Remote(Session(port), seconds)
            self._opened = opened.pop_all()

    def describe(self) -> dict[str, str]:
        """Its name, clock, memories and firmware."""
        greeting, state = self.remote.greeting, self.remote.state()
        slots = zip(("model", "input", "output", ".tflite"), greeting.capacities, strict=False)
        about = {
            "name": greeting.name,
            "clock": f"{greeting.ticks_per_second:,} ticks a second",
            "memory": ", ".join(f"{name} {size:,}" for name, size in slots if size) + " bytes",
            "firmware": f"{state.firmware:08x}",
        }
        return about if greeting.runs_tflite else about | {"arena": f"{state.arena_capacity:,} B"}

    def measure(self, deployment: Deployment, repeats: Repeats) -> Reading:
        """Uploads, runs, reads back and compares with the reference kernels."""
        remote = self.remote
        if remote.greeting.runs_tflite:
            remote.upload(TFLITE, deployment.tflite)
        else:
            remote.upload(MODEL, deployment.file("flat"))
        remote.upload(INPUT, deployment.image)
        remote.session.notes.clear()
        ticks = self._run(repeats)
        difference = deployment.difference(remote.download(OUTPUT, len(deployment.expected)))
        allowed = self.tolerance if remote.greeting.runs_tflite else 0
        if difference > allowed:
            raise ProtocolError(
                f"the device's output differs from the reference kernels' by {difference} steps, "
                f"where {allowed} are allowed"
            )
        state, model = remote.state(), zlib.crc32(deployment.tflite)
        if state.source != model:
            raise ProtocolError(f"the device ran model {state.source:08x}, not {model:08x}")
        return Reading(
            ticks=tuple(ticks),
            ticks_per_second=remote.greeting.ticks_per_second,
            provenance=self.provenance,
            clock=self.clock,
            model=model,
            warm_up=repeats.warm_up,
            threads=state.threads,
            difference=difference,
            arena_bytes=state.arena_bytes,
            stack_bytes=state.stack_bytes,
            firmware=f"{remote.greeting.name} {state.firmware:08x}",
            notes=tuple(remote.session.notes),
        )

    def _run(self, repeats: Repeats) -> list[int]:
        """All timed runs, in as many requests as they need."""
        deadline, warm_up = Deadline(repeats.seconds), repeats.warm_up
        ticks: list[int] = []
        while len(ticks) < repeats.timed:
            count = min(repeats.timed - len(ticks), MOST_REPEATS)
            ticks += self.remote.run(count, min(warm_up, MOST_REPEATS), deadline.left)
            warm_up = 0
        return ticks

    def close(self) -> None:
        """Closes the port, and ends the emulator if there is one."""
        self._opened.close()


class EmulatedDriver(FramedDriver):
    """A board that QEMU emulates; it begins anew with every driver.

    Args:
        address: Its core: ``cortex-m3``, ``cortex-m4`` or ``cortex-m7``.

    Raises:
        UnknownName: If no emulated board has that core.
        DeviceError: If it does not start, or does not answer.
        BackendMissing: If pyserial or QEMU is not installed.
    """

    provenance: ClassVar[str] = "emulated-insn"
    clock: ClassVar[str] = "instructions of QEMU"

    def __init__(self, address: str) -> None:
        if address not in BOARDS:
            raise UnknownName("emulated core", address, BOARDS)
        with ExitStack() as opened:
            super().__init__(opened.enter_context(Emulator(BOARDS[address])).url)
            opened.push(self._opened.pop_all())
            self._opened = opened.pop_all()
