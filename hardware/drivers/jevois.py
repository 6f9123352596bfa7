"""The JeVois-A33 smart camera, measured by its own log; never tried on a real camera so far."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import ClassVar

from emnas_gym.errors import EmNASError
from hardware.deployment import Deployment
from hardware.drivers.base import Driver
from hardware.drivers.jevois_shell import (
    FLOOD,
    LONGEST,
    Shell,
    is_fatal,
    is_trouble,
    raise_refusal,
)
from hardware.errors import DeviceError, DeviceRefused, ProtocolError
from hardware.link.port import Deadline, Port, Transcript
from hardware.reading import Reading, Repeats

ROOT = "/jevois/share/tensorflow"  # where the module looks for folders with networks
MODULE = "JeVois TensorFlowSingle"
MOST_THREADS = 16
HOUR_MS = 3_600_000.0
_MILLISECONDS = {"s": 1e3, "ms": 1.0, "us": 1e-3, "µs": 1e-3, "ns": 1e-6}
_PREDICTED = re.compile(r"Predicted in\s+(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*([^\W\d]*)")
_FORMAT = re.compile(r"[A-Z0-9]{4} \d{1,4} \d{1,4} \d{1,3}(\.\d+)?")
_SERIAL_PORTS = ("None", "All", "Hard", "USB")
_FACTS = {"JeVois": "name", "Linux": "system", "CPU:": "processor", "Mem": "memory"}


class JeVoisDriver(Driver):
    """A JeVois-A33 on its USB serial line.

    It speaks what the camera's public source says (jevois/jevois `Engine.C`, `Serial.C`;
    jevois/jevoisbase `TensorFlowSingle.C`, `TensorFlow.C`) and was tested against a scripted
    double made from the same source. **It has never spoken to a real camera.**

    A network and its labels are copied to the camera; its module ``TensorFlowSingle`` runs them on
    camera images without video over USB and logs how long each took. The camera's runtime takes
    unsigned or float inputs of three channels, no larger than the camera's image. The output is not
    given back, and so not checked. Some versions print whole milliseconds.

    Args:
        address: URL of its port, ``/dev/ttyACM0``.
        threads: Of its interpreter.
        camera: Pixel format, width, height and images a second of the sensor.
        answer_seconds: Deadline of one answer.
        load_seconds: Until a network is loaded; added to the deadline of the runs.
        settle_seconds: In which it says that it cannot write a file.
        transcript: Called with all that goes over the line, as `Port` does.

    Raises:
        EmNASError: If threads or camera are nothing that the camera knows.
        DeviceError: If the port cannot be opened, or no camera answers there.
        BackendMissing: If pyserial is not installed.
    """

    formats: ClassVar[tuple[str, ...]] = ("uint8",)

    def __init__(
        self,
        address: str,
        *,
        threads: int = 4,
        camera: str = "YUYV 320 240 30.0",
        answer_seconds: float = 10.0,
        load_seconds: float = 60.0,
        settle_seconds: float = 0.3,
        transcript: Transcript | None = None,
    ) -> None:
        if not 1 <= threads <= MOST_THREADS:
            raise EmNASError(f"{threads} threads: give 1 to {MOST_THREADS}")
        if not _FORMAT.fullmatch(camera):
            raise EmNASError(f"{camera!r} is no camera format such as 'YUYV 320 240 30.0'")
        self.threads, self.camera, self.load_seconds = threads, camera, load_seconds
        # as a terminal holds these lines; they reset nothing on this camera
        self._port = Port(address, dtr=True, rts=True, transcript=transcript)
        self._shell = Shell(self._port, answer_seconds, settle_seconds)
        try:
            self._shell.greet()
        except BaseException:
            self._port.close()
            raise

    def describe(self) -> dict[str, str]:
        """Version, system, clock, temperature, memory and mapping, in the camera's words.

        Raises:
            DeviceError: If it does not answer.
        """
        about: dict[str, str] = {}
        for line in self._shell.command("info"):
            _, mark, fact = line.partition("INFO: ")
            if mark and fact:
                known = (name for begin, name in _FACTS.items() if fact.startswith(begin))
                about[next(known, "mapping")] = fact
        if "name" not in about:
            raise ProtocolError(f"{self._port.url}: 'info' does not begin with a JeVois version")
        return about

    def measure(self, deployment: Deployment, repeats: Repeats) -> Reading:
        """Copies the network there, runs it on camera images, and reads the times in the log.

        Raises:
            DeviceRefused: In the camera's words; or if the network takes less than its clock shows.
            DeviceError: If the camera failed.
        """
        content = deployment.file("uint8")
        name = f"emnas-{zlib.crc32(content):08x}"  # another name for another network: it reloads
        self._shell.greet()
        with self._left_as_found(f"{ROOT}/{name}"):
            self._install(f"{ROOT}/{name}", content, classes=len(deployment.expected))
            self._select(name)
            times = self._run(repeats)
        about = self.describe()
        reading = Reading(
            ticks=tuple(times),
            ticks_per_second=1e3,
            provenance="board",
            clock="the camera's gettimeofday, as its log prints it",
            model=zlib.crc32(deployment.tflite),
            warm_up=repeats.warm_up,
            threads=self.threads,
            firmware=", ".join(about[key] for key in ("name", "system") if key in about),
            notes=tuple(about[key] for key in ("processor",) if key in about),
        )
        if reading.latency_ms <= 0:
            raise DeviceRefused("the network takes less than the millisecond of the camera's clock")
        return reading

    def close(self) -> None:
        """Closes the port."""
        self._port.close()

    @contextmanager
    def _left_as_found(self, folder: str) -> Iterator[None]:
        """Stops the stream, sets the log's way back and removes the network, whatever happens."""
        with suppress(DeviceRefused):  # of a program that was killed; else there is none to stop
            self._shell.command("streamoff")
        answer = [line.split() for line in self._shell.command("getpar serlog")]
        port = next((line[-1] for line in answer if line[-1] in _SERIAL_PORTS), "None")
        last = ("streamoff", f"setpar serlog {port}", f"shell rm -rf {folder}")
        try:
            yield
        except BaseException:
            with suppress(DeviceError):
                self._tidy(last)
            raise
        for command in last:
            self._shell.command(command)

    def _tidy(self, commands: tuple[str, ...]) -> None:
        if self._shell.midway:  # they would become a part of the file
            return
        for command in commands:
            with suppress(DeviceRefused):
                self._shell.command(command)

    def _install(self, folder: str, content: bytes, classes: int) -> None:
        self._shell.command(f"shell mkdir -p {folder}")
        self._shell.install(f"{folder}/labels.txt", labels(classes))
        self._shell.install(f"{folder}/model.tflite", content)

    def _select(self, name: str) -> None:
        for command in (
            f"setmapping2 {self.camera} {MODULE}",
            f"setpar threads {self.threads}",  # before netdir, which loads
            f"setpar netdir {name}",
            "setpar serlog USB",
        ):
            self._shell.command(command)

    def _run(self, repeats: Repeats) -> list[float]:
        """Milliseconds of the timed runs."""
        times: list[float] = []
        trouble = ""
        wanted = repeats.warm_up + repeats.timed
        self._shell.command("streamon")
        seconds = self.load_seconds + repeats.seconds
        for line in self._shell.lines(Deadline(seconds), FLOOD + wanted * LONGEST):
            time = predicted_ms(line)
            if time is not None:
                times.append(time)
                if len(times) == wanted:
                    return times[repeats.warm_up :]
            elif is_fatal(line):
                raise DeviceRefused(f"the camera could not run the network: {line}")
            raise_refusal(line, "to run the network")
            trouble = line if is_trouble(line) else trouble
        raise self._shell.silence(f"{wanted} predictions ({len(times)} came)", seconds, trouble)


def labels(classes: int) -> bytes:
    """The file of labels: a line a class, for the camera reads as many scores as it has lines.

    It pads its own list to a multiple of 16 (`TensorFlow::readLabelsFile`); padding in the file
    would make it read beyond the output.
    """
    return "".join(f"class{index}\n" for index in range(classes)).encode("ascii")


def predicted_ms(line: str) -> float | None:
    """Milliseconds of a line ``… Predicted in 12.3ms``; None for any other line.

    Raises:
        ProtocolError: If it has no known unit, or is longer than an hour.
    """
    found = _PREDICTED.search(line)
    if found is None:
        return None
    factor = _MILLISECONDS.get(found[2])
    time = float(found[1]) * (factor or 0.0)
    if factor is None or not time <= HOUR_MS:
        raise ProtocolError(f"{line[:120]!r} is no time of one run")
    return time
