"""K210 boards with MaixPy, or any MicroPython that has a module ``KPU`` like MaixPy's."""

from __future__ import annotations

import zlib
from contextlib import ExitStack, suppress
from typing import ClassVar

import numpy as np

from hardware.deployment import Deployment
from hardware.drivers.base import Driver
from hardware.drivers.kpu_script import (
    Answers,
    input_lines,
    measuring_code,
    parse_answers,
)
from hardware.drivers.maixpy_2021 import CLOCK_2021, latency_ms_of_2021
from hardware.drivers.micropython import RawRepl, printable
from hardware.drivers.micropython_files import BoardFiles, checked
from hardware.errors import DeviceError, DeviceRefused, ModelFileError
from hardware.kmodel import kmodel_version
from hardware.link.port import Port, Transcript
from hardware.reading import Reading, Repeats

ABOUT = """\
import gc,os,sys
for k,v in zip(('system','node','release','version','board'),os.uname()):
 print('EMNAS',k,v)
print('EMNAS implementation',sys.implementation)
gc.collect()
print('EMNAS heap',gc.mem_free(),'bytes free')
import KPU
if hasattr(KPU,'memtest'):
 KPU.memtest()
"""


class MaixPyDriver(Driver):
    """A board that runs MaixPy; its networks are kmodels that nncase's ``ncc`` compiled.

    A network is written to the board's card or flash, unless it lies there already, loaded into
    the KPU and run on one image. The time is that of ``KPU.forward`` on a list of floats, which
    the board turns into the KPU's input every time; an image from its own camera costs less.
    `Reading.difference` is None: ncc quantises the network again, with its own scales, so that no
    step of the output equals one of the int8 .tflite file. The notes say whether both see the same
    class, and how much memory was free before, with and after the network.

    Args:
        address: URL of its port: ``/dev/ttyUSB0``, ``socket://host:port``.
        baud: Symbols a second; MaixPy's REPL has 115,200.
        path: Where the kmodel is put: on a card ``/sd/...``, in flash ``/flash/...``.
        legacy: Whether to time by the helper module ``tools`` of 2021 that lies on the board, one
            mean of 20 runs, instead of by our script.
        loading: Seconds that loading a network may take, beside `Repeats.seconds`.
        prompt: Seconds until what runs on the board has been interrupted and its prompt is there.
        transcript: Called with ``"<"`` or ``">"`` and the bytes that came or went.

    Raises:
        DeviceError: If the port cannot be opened, or no MicroPython with a KPU answers.
        BackendMissing: If pyserial is not installed.
    """

    formats: ClassVar[tuple[str, ...]] = ("kmodel",)

    def __init__(
        self,
        address: str,
        baud: int = 115_200,
        path: str = "/sd/emnas.kmodel",
        legacy: bool = False,
        loading: float = 10.0,
        prompt: float = 10.0,
        transcript: Transcript | None = None,
    ) -> None:
        if ".kmodel" not in checked(path):
            raise DeviceError(f"{path}: the KPU loads only files that are called .kmodel")
        self.path, self.legacy, self._loading, self._baud = path, legacy, loading, baud
        with ExitStack() as opened:
            self._port = opened.enter_context(Port(address, baud=baud, transcript=transcript))
            self._repl = RawRepl(self._port, prompt, baud=baud)
            opened.callback(self._leave)
            self._files = BoardFiles(self._repl)
            self._firmware = self.describe().get("version", "")
            self._opened = opened.pop_all()

    def describe(self) -> dict[str, str]:
        """Its board, its version of MicroPython and its free memory."""
        try:
            printed = self._repl.run(ABOUT)
        except DeviceRefused as refusal:
            raise DeviceError(
                f"{self._port.url}: this board runs MicroPython but no MaixPy: {refusal}"
            ) from refusal
        about: dict[str, str] = {}
        for line in map(printable, printed.splitlines()):
            if line.startswith("EMNAS ") and line.count(" ") > 1:
                _, name, value = line.split(" ", 2)
                about[name] = value
            elif line.startswith("###"):
                name, _, value = line[3:].partition(":")
                about[name.strip()] = value.strip() or "?"
        return about

    def measure(self, deployment: Deployment, repeats: Repeats) -> Reading:
        """Uploads, runs, and compares the class that comes out with the reference kernels'."""
        kmodel = deployment.file("kmodel")
        try:
            version = kmodel_version(kmodel)
        except ModelFileError as error:
            raise DeviceRefused(str(error)) from error
        self._files.put(self.path, kmodel)
        if self.legacy:
            return self._measure_as_in_2021(deployment, repeats)
        for line in input_lines(deployment.real_image, self._files):
            self._repl.run(line)
        runs, classes = repeats.timed + repeats.warm_up, len(deployment.expected)
        code = measuring_code(self.path, version, runs, repeats.warm_up, classes)
        printed = self._repl.run(code, repeats.seconds + self._loading)
        answers = parse_answers(printed, repeats.timed)
        return Reading(
            ticks=answers.ticks,
            ticks_per_second=1e6,
            provenance="board",
            clock="utime.ticks_us",
            model=zlib.crc32(deployment.tflite),
            warm_up=repeats.warm_up,
            firmware=self._firmware,
            notes=_notes(deployment, answers),
        )

    def close(self) -> None:
        """Leaves the board at its friendly prompt and closes the port."""
        self._opened.close()

    def _leave(self) -> None:
        with suppress(DeviceError):  # what is unplugged cannot be left better
            self._repl.leave()

    def _measure_as_in_2021(self, deployment: Deployment, repeats: Repeats) -> Reading:
        self._repl.leave()  # the next run enters it again
        name = self.path.rpartition("/")[2]
        milliseconds = latency_ms_of_2021(self._port, name, repeats.seconds + self._loading)
        return Reading(
            ticks=(milliseconds,),
            ticks_per_second=1e3,
            provenance="board",
            clock=CLOCK_2021,
            model=zlib.crc32(deployment.tflite),
            firmware=self._firmware,
            notes=("one mean of 20 runs, the first ones included; its spread is not known",),
        )


def _notes(deployment: Deployment, answers: Answers) -> tuple[str, ...]:
    pixels = deployment.real_image.size
    notes = [f"the times include turning a list of {pixels:,} floats into the KPU's input"]
    if answers.output is None:
        notes.append("the output cannot be read: its class is not compared")
    else:
        expected = int(np.argmax(np.frombuffer(deployment.expected, np.int8)))
        found = int(np.argmax(answers.output))
        same = "as" if found == expected else f"not {expected} as"
        notes.append(f"class {found}, {same} the reference kernels say")
    return (*notes, *answers.memory)
