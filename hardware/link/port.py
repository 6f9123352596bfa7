"""A serial line with deadlines: one owner, no surprise resets, errors that say what happened."""

from __future__ import annotations

import hashlib
import io
import os
import select
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from emnas_gym.errors import StoreError
from emnas_gym.ownership import Ownership
from hardware.errors import DeviceError, DeviceLost, DeviceTimeout
from hardware.extras import load

SLICE = 0.05  # seconds of one blocking call; a deadline is never missed by more
BLOCK = 4096  # bytes of one read
Transcript = Callable[[str, bytes], None]


class Deadline:
    """A point in time until which something may take.

    Args:
        seconds: From now.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds left, never below 0."""
        return max(self._end - time.monotonic(), 0.0)

    @property
    def over(self) -> bool:
        """Whether it has passed."""
        return self.left == 0.0


class Port:
    """An open line to a device.

    Args:
        url: ``/dev/ttyUSB0``, ``COM3``, ``socket://host:port``, ``rfc2217://host:port``.
        baud: Symbols a second; a socket has none.
        dtr: Level of the DTR line, set before the port opens: on many boards it is a reset button.
        rts: Level of the RTS line, likewise.
        transcript: Called with ``"<"`` or ``">"`` and the bytes that came or went.

    Raises:
        DeviceError: If another program has the port, or it cannot be opened.
        BackendMissing: If pyserial is not installed.
    """

    def __init__(
        self,
        url: str,
        baud: int = 115_200,
        *,
        dtr: bool = False,
        rts: bool = False,
        transcript: Transcript | None = None,
    ) -> None:
        self.url, self._transcript = url, transcript
        self._failures = _failures()
        serial = load("serial")
        try:
            self._owned = Ownership(_lock(url))
        except StoreError as error:
            raise DeviceError(f"{url} is in use by another program: end it first") from error
        try:
            line = serial.serial_for_url(url, do_not_open=True)
            line.baudrate, line.timeout = baud, SLICE
            if not url.startswith("rfc2217://"):  # there pyserial has a deadline of its own
                line.write_timeout = SLICE
            if not url.startswith(("socket://", "loop://")):
                line.exclusive = True
            line.dtr, line.rts = dtr, rts
            line.open()
        except self._failures as error:
            self._owned.release()
            raise DeviceError(f"{url} cannot be opened: {_advice(error)}") from error
        self._line: Any = line

    def read(self, deadline: Deadline) -> bytes:
        """Whatever has come, as soon as there is something; empty once the deadline is over.

        Raises:
            DeviceLost: If the connection broke.
        """
        while True:
            try:
                data = self._line.read(1)
                if data:
                    data += self._line.read(min(self._line.in_waiting, BLOCK))
            except self._failures as error:
                raise DeviceLost(f"{self.url}: the connection broke ({error})") from error
            if data:
                self._note("<", data)
                return bytes(data)
            if deadline.over:
                return b""

    def write(self, data: bytes, deadline: Deadline) -> None:
        """Sends all bytes.

        Raises:
            DeviceLost: If the connection broke.
            DeviceTimeout: If the other end takes no more.
        """
        sent = 0
        while sent < len(data):
            try:
                some = self._write_some(data[sent : sent + 64])
            except self._failures as error:
                raise DeviceLost(f"{self.url}: the connection broke ({error})") from error
            sent += some
            if not some and deadline.over:
                raise DeviceTimeout(
                    f"{self.url} took {sent} of {len(data)} bytes in {deadline.seconds:g} s"
                )
        self._note(">", data)

    def _write_some(self, data: bytes) -> int:
        """Sends what the line takes now; returns how many bytes.

        Not by pyserial where there is a file to write to: on a full or slow line its ``write``
        says timeout of bytes that it has sent, and they would be sent twice.
        """
        try:
            file = self._line.fileno()
        except (AttributeError, io.UnsupportedOperation):  # Windows, RFC 2217
            try:
                return self._line.write(data) or 0
            except load("serial").SerialTimeoutException:
                return 0
        _, ready, _ = select.select([], [file], [], SLICE)
        try:
            return os.write(file, data) if ready else 0
        except BlockingIOError:
            return 0

    def drain(self, quiet: float = 0.1, most: float = 2.0) -> bytes:
        """Reads until nothing has come for a while: banners, and answers to who asked before."""
        seen, deadline = b"", Deadline(most)
        while not deadline.over:
            data = self.read(Deadline(min(quiet, deadline.left)))
            if not data:
                break
            seen = (seen + data)[-BLOCK:]
        return seen

    def close(self) -> None:
        """Closes the line, which may be broken already, and lets others have it."""
        try:
            self._line.close()
        except self._failures:
            pass  # what is unplugged cannot be closed better
        finally:
            self._owned.release()

    def __enter__(self) -> Self:
        """The port itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes it."""
        self.close()

    def _note(self, direction: str, data: bytes) -> None:
        if self._transcript is not None:
            self._transcript(direction, data)


def _failures() -> tuple[type[BaseException], ...]:
    """What pyserial raises on a bad or broken line; ``termios.error`` is no ``OSError``."""
    try:
        import termios
    except ImportError:  # Windows
        return (OSError, ValueError)
    return (OSError, ValueError, termios.error)


def _lock(url: str) -> Path:
    """One file for each device, whatever name it is called by."""
    known = os.path.realpath(url) if os.path.exists(url) else url
    name = hashlib.sha256(known.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / "emnas-ports" / name


def _advice(error: BaseException) -> str:
    text = str(error)
    if "Permission" in text or getattr(error, "errno", None) == 13:
        return f"{text}; on Linux your user must be in the group dialout"
    if getattr(error, "errno", None) == 2:
        return f"{text}; `python -m hardware doctor` lists what is attached"
    return text
