"""A double of a JeVois camera on a pty: a state machine made from the camera's public source.

It stands in for Engine.C, Serial.C and Log.C of jevois/jevois, and TensorFlowSingle.C and
TensorFlow.C of jevois/jevoisbase. It keeps files, looks into networks with the real interpreter,
logs a frame every few milliseconds while it streams, and fails where it is told to.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import select
import threading
import time
import tty
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from hardware.errors import ModelFileError
from hardware.interpreter import Model

ROOT = "/jevois/share/tensorflow"
STEPS = (  # what a measurement says to a camera, in this order; the first comes when it is opened
    "ping",
    "shell echo",
    "getpar serlog",
    "shell mkdir",
    "fileput",
    "JEVOIS_FILEPUT",
    "shell md5sum",
    "setmapping2",
    "setpar threads",
    "setpar netdir",
    "setpar serlog USB",
    "streamon",
    "setpar serlog None",
    "shell rm",
    "info",
)


@dataclass(frozen=True)
class Fault:
    """What goes wrong.

    Attributes:
        step: Begin of the command at which it does.
        kind: ``err``, ``hang``, ``unplug``, ``garbage``, ``flood``, ``endless`` or ``late``.
        time: The how manieth of these commands.
    """

    step: str
    kind: str
    time: int = 1


class Hung(Exception):
    """The double says no more."""


class JeVoisDouble:
    """A camera.

    Args:
        times: Of its frames, as the log prints them, over and over.
        fault: What goes wrong.
        frame: Line of the log for a frame.
        noise: Further lines of the log after every frame, and before every answer while it logs.
        damaged: How many of the files that come next are damaged on the way.
        serlog: Where its log goes when it is opened.

    Attributes:
        path: Where the host opens its port.
        files: Content by path.
        heard: All commands, in order.
        wrong: Commands at a moment at which a camera would not have them.
        go_on: Ends the wait of the fault ``late``.
    """

    def __init__(
        self,
        times: Sequence[str] = ("12.3ms", "12.5ms", "12.4ms"),
        fault: Fault | None = None,
        frame: str = "INF TensorFlowSingle::process: Predicted in {}",
        noise: Sequence[str] = (),
        damaged: int = 0,
        serlog: str = "None",
    ) -> None:
        self._times, self._fault, self._frame, self._noise = times, fault, frame, noise
        self._damaged, self.serlog = damaged, serlog
        self.files: dict[str, bytes] = {}
        self.folders = {ROOT}
        self.heard: list[str] = []
        self.wrong: list[str] = []
        self.streaming = self.mapped = self.ready = False
        self.parameters = {"threads": "4", "netdir": "mobilenet"}
        self._host, self._far = os.openpty()
        tty.setraw(self._host)
        tty.setraw(self._far)
        self.path = os.ttyname(self._far)
        self._bytes = bytearray()
        self._stop, self.go_on = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._live, daemon=True)
        self._thread.start()

    # ------------------------------------------------------------------------------ its life

    def _live(self) -> None:
        frames = itertools.cycle(self._times)
        try:
            while not self._stop.is_set():
                line = self._next_line(0.003 if self.streaming else 0.02)
                if line is not None:
                    self._command(line)
                if self.streaming:
                    self._process(frames)
        except (Hung, OSError):
            while not self._stop.is_set():  # what is sent there goes nowhere
                self._read(0.02)

    def _read(self, seconds: float) -> None:
        if self._host < 0:
            time.sleep(seconds)
        elif select.select([self._host], [], [], seconds)[0]:
            self._bytes += os.read(self._host, 4096)

    def _next_line(self, seconds: float) -> str | None:
        if b"\n" not in self._bytes:
            self._read(seconds)
        if b"\n" not in self._bytes:
            return None
        raw, _, rest = bytes(self._bytes).partition(b"\n")
        self._bytes = bytearray(rest)
        return raw.decode("ascii", "replace").strip("\r")

    def _say(self, *lines: str) -> None:
        self._write("".join(f"{line}\r\n" for line in lines).encode())

    def _write(self, data: bytes) -> None:
        while data and not self._stop.is_set():
            if select.select([], [self._host], [], 0.02)[1]:
                data = data[os.write(self._host, data[:256]) :]

    def _log(self, *lines: str) -> None:
        if self.serlog in ("USB", "All"):
            self._say(*lines)

    # ------------------------------------------------------------------------------ commands

    def _command(self, text: str) -> None:
        self.heard.append(text)
        self._log(*self._noise)
        if self._fails(text):
            return
        try:
            answer = list(self._do(text))
        except ValueError as error:
            self._log(f"ERR Log::warnAndIgnoreException: Ignoring std::exception [{error}]")
            self._say(f"ERR {error}")
        else:
            self._say(*answer, "OK")

    def _fails(self, text: str) -> bool:
        """Whether a fault came in the place of an answer."""
        if self._fault is None or not text.startswith(self._fault.step):
            return False
        if sum(line.startswith(self._fault.step) for line in self.heard) != self._fault.time:
            return False
        return self._fail(self._fault.kind)

    def _fail(self, kind: str) -> bool:
        if kind == "err":
            self._say("ERR Command error [it]: the double was told to")
            return True
        if kind == "late":
            self.go_on.wait(60)
            self.go_on.clear()
            return False
        if kind == "unplug":
            self._pull()
        elif kind == "garbage":
            self._write(bytes(range(128, 256)) + b"\n")
        elif kind == "endless":
            self._write(b"x" * 10_000)
        elif kind == "flood":
            while not self._stop.is_set():
                self._say(*["INF Camera::process: a frame was dropped"] * 50)
        raise Hung

    def _pull(self) -> None:
        os.close(self._host)
        os.close(self._far)
        self._host = self._far = -1

    def _do(self, text: str) -> Iterator[str]:
        first, _, rest = text.partition(" ")
        if first == "ping":
            yield "ALIVE"
        elif first == "info":
            yield from self._info()
        elif first == "getpar" and rest == "serlog":
            yield f"serlog {self.serlog}"
        elif first == "setpar":
            self._set(*rest.split(" "))
        elif first == "shell":
            yield from self._shell(rest.split(" "))
        elif first == "fileput":
            self._file(rest)
        elif first == "setmapping2":
            self._map(rest)
        elif first in ("streamon", "streamoff") and self.mapped:
            self.streaming, self.ready = first == "streamon", False
        else:
            if first != "streamoff":
                self.wrong.append(text)
            raise ValueError(f"Unsupported command [{text}]")

    def _info(self) -> Iterator[str]:
        yield "INFO: JeVois 1.20.0"
        yield "INFO: Linux version 3.4.39"
        yield "INFO: CPU: 1344MHz, 47C, load: 1.02 1.01 0.86 1/50 83"
        yield "INFO: MemTotal: 238452 kB, MemFree: 194292 kB"
        yield "INFO: OUTPUT: NONE 0x0 @ 0fps CAMERA: YUYV 320x240 @ 30fps MODULE: TensorFlowSingle"

    def _set(self, name: str, value: str) -> None:
        if name == "serlog" and value in ("None", "All", "Hard", "USB"):
            self.serlog = value
        elif name in self.parameters and self.mapped and not self.streaming:
            self.parameters[name] = value
        else:
            self.wrong.append(f"setpar {name} {value}")
            raise ValueError(f"No parameter named [{name}] takes [{value}]")

    def _shell(self, words: list[str]) -> Iterator[str]:
        name, path = words[0], words[-1]
        if name == "echo":
            yield path
        elif name == "mkdir":
            self.folders.add(path)
        elif name == "rm":
            assert path.startswith(f"{ROOT}/emnas-")
            self.folders.discard(path)
            self.files = {p: c for p, c in self.files.items() if not p.startswith(path + "/")}
        elif name == "md5sum" and path in self.files:
            yield f"{hashlib.md5(self.files[path], usedforsecurity=False).hexdigest()}  {path}"
        else:
            yield f"{name}: can't open '{path}': No such file or directory"

    def _map(self, text: str) -> None:
        if self.streaming:
            raise ValueError("Cannot set mapping while streaming")
        pixels, width, height, _, vendor, module = text.split(" ")
        assert (pixels, vendor, module) == ("YUYV", "JeVois", "TensorFlowSingle")
        self.size = int(width), int(height)
        self.mapped, self.parameters["netdir"] = True, "mobilenet"

    # ------------------------------------------------------------------------------ files

    def _file(self, path: str) -> None:
        if path.rpartition("/")[0] not in self.folders:
            raise ValueError(f"Could not write file {path}")
        header = self._header()
        if not header.startswith("JEVOIS_FILEPUT "):
            raise ValueError(f"Incorrect header while receiving file {path}")
        count = int(header.partition(" ")[2])
        half = self._take(count // 2)
        self.heard.append(header)
        if self._fails(header):
            raise ValueError("disk full")
        content = half + self._take(count - count // 2)
        if self._bytes:
            self.wrong.append("bytes behind the file")
        if self._damaged:
            self._damaged -= 1
            content = content[:-1] + bytes([content[-1] ^ 1])
        self.files[path] = content

    def _header(self) -> str:
        end = time.monotonic() + 2
        while time.monotonic() < end and not self._stop.is_set():
            if (line := self._next_line(0.02)) is not None:
                return line
        return ""

    def _take(self, count: int) -> bytes:
        while len(self._bytes) < count:
            if self._stop.is_set():
                raise Hung
            self._read(0.02)
        taken, self._bytes = bytes(self._bytes[:count]), self._bytes[count:]
        return taken

    # ------------------------------------------------------------------------------ frames

    def _process(self, frames: Iterator[str]) -> None:
        if not self.ready:
            self.ready = self._load()
        if not self.ready:
            return
        for line in self._noise:
            self._log(line)
        self._log(self._frame.format(next(frames)))

    def _load(self) -> bool:
        """Loads the network; says what a real one says of what it cannot run."""
        folder = f"{ROOT}/{self.parameters['netdir']}"
        names, content = (self.files.get(f"{folder}/{n}") for n in ("labels.txt", "model.tflite"))
        if names is None or content is None:
            return self._fatal("loadNet", f"Failed to mmap model {folder}/model.tflite")
        self._log(f"INF TensorFlow::readLabelsFile: Loaded {names.count(10)} category names")
        try:
            model = Model(content)
        except ModelFileError:
            return self._fatal("loadNet", "Failed to construct interpreter")
        height, width, channels = model.input_shape
        if width > self.size[0] or height > self.size[1]:
            return self._fatal("process", f"Network wants {width}x{height}, larger than camera")
        if channels != 3:
            return self._fatal("predict", "Network wants Gray but input image is not CV_8UC1")
        if model.input_dtype not in (np.uint8, np.float32):
            return self._fatal("predict", "only uint8 or float32 network input pixel types")
        self._log("INF TensorFlow::operator(): TensorFlow network ready")
        return True

    def _fatal(self, function: str, words: str) -> bool:
        self._log(
            f"FTL TensorFlow::{function}: {words}",
            f"ERR Log::warnAndIgnoreException: Ignoring std::exception [{words}]",
        )
        return False

    # ------------------------------------------------------------------------------ its end

    def close(self) -> None:
        """Ends the double and the line."""
        self._stop.set()
        self.go_on.set()
        self._thread.join()
        if self._host >= 0:
            self._pull()

    def __enter__(self) -> Self:
        """The camera."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it."""
        self.close()
