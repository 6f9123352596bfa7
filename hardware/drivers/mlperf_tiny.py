"""Boards with firmware for the MLPerf Tiny benchmark: one network compiled in, a text protocol."""

from __future__ import annotations

import re
import time
import zlib
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from emnas_gym.errors import UnknownName
from emnas_gym.measurement import PROVENANCES
from hardware.deployment import Deployment
from hardware.drivers.base import FOREIGN_STEPS, Driver
from hardware.drivers.flash_command import FlashCommand
from hardware.drivers.mlperf_protocol import Dialogue, Inference
from hardware.errors import DeviceError, ProtocolError
from hardware.link.port import Deadline, Port
from hardware.reading import Reading, Repeats

TIMED_US = 100_000  # of one timed call; a clock of whole milliseconds is then right to 1 %
COARSE_US = 1000  # the shortest time from which the number of runs of a call is reckoned
MOST_RUNS = 10_000  # of one call
OURS = re.compile(r"emnas-([0-9a-f]{8})")  # our firmware's model is named by its checksum
ADVICE = "the board's model is not this network; flash it, or give flash="


class MLPerfTinyDriver(Driver):
    """A board that the runner of MLPerf Tiny could measure.

    Such firmware has one network compiled in. With ``flash`` every network is put on the board by
    a command of the user's before it is measured; without, the board is measured as it is, and its
    results tell whether it runs the network that is meant.

    The benchmark's rules ask for ten seconds or ten inferences of each input. Here each of
    `Repeats.timed`, ten if nothing else is said, is a call of as many inferences as take a tenth
    of a second, and at least one.

    Args:
        address: URL of its port: ``/dev/ttyACM0``, ``socket://host:port``.
        baud: Symbols a second.
        flash: Command as `hardware.drivers.flash_command.FlashCommand` has it; none if empty.
        seconds: Deadline of every command but the inferences, which have `Repeats.seconds`; also
            of the board's restart after it was flashed.
        flash_seconds: Deadline of the flash command.
        provenance: What its numbers are: ``"emulated-insn"`` where QEMU counts instructions.
        unsigned: Whether it takes the input as 0 to 255, as the benchmark's image models do.

    Raises:
        UnknownName: If there is no such provenance.
        EmNASError: If the flash command is none.
        DeviceError: If the port cannot be opened or the board does not answer; with a flash
            command, which may have to bring the firmware first, nothing is opened yet.
        BackendMissing: If pyserial is not installed.
    """

    formats: ClassVar[tuple[str, ...]] = ("flat",)  # for `flash`; a board alone needs none

    def __init__(
        self,
        address: str,
        baud: int = 115_200,
        flash: str = "",
        seconds: float = 10.0,
        flash_seconds: float = 300.0,
        provenance: str = "board",
        unsigned: bool = False,
    ) -> None:
        if provenance not in PROVENANCES:
            raise UnknownName("provenance", provenance, PROVENANCES)
        self.address, self.baud, self.seconds = address, baud, seconds
        self.provenance, self.unsigned = provenance, unsigned
        self._flash = FlashCommand(flash, flash_seconds) if flash else None
        self._port: Port | None = None
        self._closed = False
        if self._flash is None:
            try:
                self.describe()
            except BaseException:
                self.close()
                raise

    def describe(self) -> dict[str, str]:
        """Its name, its firmware's and its model's."""
        dialogue = self._dialogue()
        name = dialogue.greet()
        profile, model = dialogue.about()
        return {"name": name, "profile": profile, "model": model}

    def measure(self, deployment: Deployment, repeats: Repeats) -> Reading:
        """Flashes the network if it can, runs it, compares its output with the reference's."""
        if self._flash is not None:
            self._release()
            self._check_not_closed()
            self._flash(deployment)
        about, model = self.describe(), zlib.crc32(deployment.tflite)
        ours = OURS.fullmatch(about["model"])
        if ours and int(ours[1], 16) != model:
            raise ProtocolError(f"{ADVICE} (its checksum is {ours[1]}, not {model:08x})")
        dialogue = self._dialogue()
        dialogue.load(_input(deployment.image, self.unsigned))
        deadline = Deadline(repeats.seconds)
        runs, before = _runs_a_call(dialogue, repeats.warm_up, deadline)
        calls = [dialogue.infer(runs, 0, deadline) for _ in range(repeats.timed)]
        return Reading(
            ticks=tuple(call.microseconds / call.runs for call in calls),
            ticks_per_second=1_000_000,
            provenance=self.provenance,
            clock="the board's microseconds",
            model=model,
            warm_up=before,
            difference=_difference(calls, deployment),
            firmware=f"{about['name']}, {about['profile']}, model {about['model']}",
            notes=(f"{runs} inferences a call",),
        )

    def close(self) -> None:
        """Closes the port."""
        self._closed = True
        self._release()

    def _dialogue(self) -> Dialogue:
        """Speaks to the board; opens its port if it is closed for the time of flashing."""
        self._check_not_closed()
        if self._port is None:
            self._port = self._opened()
        return Dialogue(self._port, self.seconds)

    def _opened(self) -> Port:
        """Opens the port; after flashing it may take a while until it is there again."""
        deadline = Deadline(self.seconds)
        while True:
            try:
                return Port(self.address, baud=self.baud)
            except DeviceError:
                if self._flash is None or deadline.over:
                    raise
            time.sleep(0.1)

    def _check_not_closed(self) -> None:
        if self._closed:
            raise DeviceError(f"{self.address}: the driver was closed")

    def _release(self) -> None:
        if self._port is not None:
            self._port.close()
            self._port = None


def _input(image: bytes, unsigned: bool) -> bytes:
    return bytes(value ^ 0x80 for value in image) if unsigned else image


def _runs_a_call(dialogue: Dialogue, warm_up: int, deadline: Deadline) -> tuple[int, int]:
    """How many runs take long enough for the clock, and how many were made to find that out."""
    runs, before = 1, warm_up
    took = dialogue.infer(runs, warm_up, deadline).microseconds
    before += runs
    while took < COARSE_US and runs < MOST_RUNS:
        runs *= 10
        took = dialogue.infer(runs, 0, deadline).microseconds
        before += runs
    if took == 0:
        raise ProtocolError(f"the board's clock stands still: {runs} runs took no time")
    return min(max(-(-runs * TIMED_US // took), 1), MOST_RUNS), before


def _difference(calls: Sequence[Inference], deployment: Deployment) -> int:
    """Largest difference of the results from the expected ones, in steps of the output.

    Raises:
        ProtocolError: If it is too large, or the results are of another number.
    """
    output = deployment.output
    expected = np.frombuffer(deployment.expected, np.int8).astype(float) - output.zero_point
    worst = 0.0
    for call in calls:
        if len(call.results) != len(expected):
            raise ProtocolError(f"{ADVICE} ({len(call.results)} results, not {len(expected)})")
        given = np.array(call.results) / output.scale
        worst = max(worst, float(np.abs(given - expected).max()))
    if worst > FOREIGN_STEPS:
        raise ProtocolError(f"{ADVICE} (its results are {worst:.0f} steps of the output off)")
    return round(worst)
