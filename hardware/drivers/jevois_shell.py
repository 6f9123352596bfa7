"""The command line of a JeVois camera: commands and answers, the log between them, files.

Facts from jevois/jevois (`src/jevois/Core/Engine.C`, `Serial.C`, `src/jevois/Debug/Log.C`,
`doc/UserCli.dox`): a command is a line; its answer is any number of lines and then ``OK``, or one
line ``ERR`` and the reason. Lines of the log, ``INF File::function: text``, come at any time.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator

from hardware.errors import (
    DeviceError,
    DeviceLost,
    DeviceRefused,
    DeviceTimeout,
    ProtocolError,
)
from hardware.link.port import Deadline, Port

LONGEST = 4096  # bytes of a line
FLOOD = 1 << 20  # bytes that are read for one answer
SLOWEST = 5000  # bytes a second of a file
_LOG = re.compile(r"(DBG|INF|FTL)\b|ERR \S+::\S+: ")
_TROUBLE = re.compile(r"(ERR|FTL)\b")
_MD5 = re.compile(r"([0-9a-f]{32})\s+\S+")


class Shell:
    """A camera's command line.

    Args:
        port: The open line.
        seconds: Deadline of one answer.
        settle: Seconds in which a camera says that it cannot write a file; it waits two for one.
    """

    def __init__(self, port: Port, seconds: float = 10.0, settle: float = 0.3) -> None:
        self.port, self.seconds, self._settle = port, seconds, settle
        self._rest = b""
        self.midway = False  # a file has begun, and the camera has not said that it is whole

    def greet(self) -> None:
        """Makes sure that a camera answers, and that what it says next is an answer to us.

        It echoes a number that was never said before: what comes ahead of it, late answers to
        earlier commands and lines of its log, is thrown away.

        Raises:
            DeviceError: If it does not, or still waits for the rest of a file.
        """
        if self.midway:
            raise DeviceTimeout(_restart(self.port.url))
        self.port.drain(quiet=0.05, most=0.5)  # a log may never be quiet
        self._rest = b""
        self._await("ping", "ALIVE")
        number = f"{random.randrange(1 << 32):08x}"
        self._await(f"shell echo {number}", number)
        self._answer("shell echo", self.seconds)

    def command(self, text: str) -> list[str]:
        """Gives a command and returns the lines of its answer, without ``OK`` and the log's.

        Raises:
            DeviceRefused: If the camera says ``ERR``, with its words.
            DeviceTimeout: If it says nothing.
            DeviceLost: If the connection breaks.
            ProtocolError: If what it says is no text, or does not end.
        """
        self._send(text)
        return self._answer(text, self.seconds)

    def install(self, path: str, content: bytes) -> None:
        """Writes a file and compares its checksum; once more if it arrived damaged.

        Raises:
            ProtocolError: If it was damaged twice.
            DeviceError: As `command`.
        """
        expected = hashlib.md5(content, usedforsecurity=False).hexdigest()
        for _ in range(2):
            self._put(path, content)
            if self._checksum(path) == expected:
                return
        raise ProtocolError(f"{self.port.url}: {path} arrived damaged twice")

    def lines(self, deadline: Deadline, most: int = FLOOD) -> Iterator[str]:
        """Lines that are not empty, until the deadline is over.

        Raises:
            DeviceLost: If the connection breaks.
            ProtocolError: If a line is no text or has no end, or if more bytes than ``most`` come.
        """
        size = 0
        while not deadline.over and (raw := self._line(deadline)) is not None:
            size += len(raw)
            if size > most:
                raise ProtocolError(f"{self.port.url} said more than {most:,} bytes in one go")
            line = self._text(raw)
            if line:
                yield line

    def silence(self, wanted: str, seconds: float, trouble: str = "") -> DeviceError:
        """The error for what did not come, which is the camera's own where it gave one."""
        if trouble:
            return DeviceRefused(f"the camera gave no {wanted}, but said: {trouble}")
        return DeviceTimeout(f"{self.port.url}: no {wanted} in {seconds:g} s")

    def _await(self, text: str, wanted: str) -> None:
        self._send(text)
        trouble = ""
        for line in self.lines(Deadline(self.seconds)):
            if line == wanted:
                return
            trouble = line if _TROUBLE.match(line) else trouble
        raise self.silence(f"answer to {text!r}", self.seconds, trouble)

    def _send(self, text: str) -> None:
        self.port.write(f"{text}\n".encode("ascii"), Deadline(self.seconds))

    def _answer(self, text: str, seconds: float) -> list[str]:
        output: list[str] = []
        trouble = ""
        for line in self.lines(Deadline(seconds)):
            if line == "OK":
                return output
            raise_refusal(line, repr(text))
            if not _LOG.match(line):
                output.append(line)
            elif _TROUBLE.match(line):
                trouble = line
        raise self.silence(f"answer to {text!r}", seconds, trouble)

    def _put(self, path: str, content: bytes) -> None:
        text = f"fileput {path}"
        self._send(text)
        for line in self.lines(Deadline(self._settle)):
            raise_refusal(line, repr(text))  # else the bytes would be taken for commands
            if line == "OK":
                raise ProtocolError(f"{self.port.url}: {text!r} was done before the file came")
        seconds = self.seconds + len(content) / SLOWEST
        self.midway = True
        try:
            header = f"JEVOIS_FILEPUT {len(content)}\n".encode("ascii")
            self.port.write(header + content, Deadline(seconds))
            self._answer(text, seconds)
        except DeviceTimeout as error:
            raise DeviceTimeout(f"{error}; {_restart('the camera')}") from error
        except (DeviceRefused, DeviceLost):
            self.midway = False
            raise
        self.midway = False

    def _checksum(self, path: str) -> str:
        answer = self.command(f"shell md5sum {path}")
        for line in answer:
            if found := _MD5.fullmatch(line):
                return found[1]
        raise ProtocolError(f"{self.port.url}: no checksum of {path}, but {answer[:3]}")

    def _line(self, deadline: Deadline) -> bytes | None:
        while b"\n" not in self._rest:
            if len(self._rest) > LONGEST:
                raise ProtocolError(f"{self.port.url}: a line of more than {LONGEST} bytes")
            data = self.port.read(deadline)
            if not data:
                return None
            self._rest += data
        raw, _, self._rest = self._rest.partition(b"\n")
        return raw

    def _text(self, raw: bytes) -> str:
        try:
            line = raw.decode("utf-8").replace("\t", " ").strip("\r\n ")
        except UnicodeDecodeError:
            line = "\0"
        if len(raw) > LONGEST or not line.isprintable():
            raise ProtocolError(f"{self.port.url}: {raw[:40]!r} is nothing that a camera says")
        return line


def is_fatal(line: str) -> bool:
    """Whether a line of the log says that a module gave up."""
    return line.startswith("FTL ")


def is_trouble(line: str) -> bool:
    """Whether a line of the log is of an error."""
    return _TROUBLE.match(line) is not None


def raise_refusal(line: str, what: str) -> None:
    """Raises `DeviceRefused` if a line is an ``ERR`` that is not of the log."""
    if re.match(r"ERR\b", line) and not _LOG.match(line):
        raise DeviceRefused(f"the camera refused {what}: {line[3:].strip() or 'no reason given'}")


def _restart(who: str) -> str:
    return f"{who} may wait for the rest of a file: unplug it, and plug it in again"
