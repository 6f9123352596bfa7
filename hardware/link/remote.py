"""What a framed device can be asked: who it is, to take and give back bytes, to run and time."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from hardware.errors import ProtocolError
from hardware.link.messages import (
    BEGIN,
    COMMIT,
    GREETING,
    HELLO,
    INPUT,
    MAGIC,
    MODEL,
    MOST_REPEATS,
    OUTPUT,
    PROFILE,
    PUT,
    READ,
    REPORT,
    RUN,
    STATE,
    TFLITE,
    THREADS,
    VERSION,
)
from hardware.link.session import Session

__all__ = ["INPUT", "MODEL", "MOST_REPEATS", "OUTPUT", "TFLITE", "Greeting", "Remote", "State"]

CHUNK = 256  # bytes; a lost byte costs no more than this again
LARGEST = 64 << 20  # bytes of a slot that are believed
SMALLEST_PAYLOAD, LARGEST_PAYLOAD = 16, 1024
MAX_SLOTS = 16
NAME = 64  # characters of a name that are kept
MOST_THREADS = 1024  # that are believed


@dataclass(frozen=True)
class Greeting:
    """What a device says of itself.

    Attributes:
        name: Its name.
        max_payload: Bytes of the largest frame that it takes.
        ticks_per_second: Of its clock; 0 if it has none.
        capacities: Bytes of each slot: model, input, output, and .tflite where it runs those.
    """

    name: str
    max_payload: int
    ticks_per_second: int
    capacities: tuple[int, ...]

    @property
    def runs_tflite(self) -> bool:
        """Whether it runs .tflite files itself, instead of our firmware's models."""
        return len(self.capacities) > TFLITE and self.capacities[TFLITE] > 0

    @classmethod
    def parse(cls, answer: bytes) -> Greeting:
        """Reads the answer to a greeting.

        Raises:
            ProtocolError: If it is of another protocol or version, or its sizes cannot be.
        """
        if len(answer) < GREETING.size:
            raise ProtocolError(f"a greeting of {len(answer)} bytes; is it one of our devices?")
        magic, version, slots, payload, ticks = GREETING.unpack_from(answer)
        if magic != MAGIC:
            raise ProtocolError(f"a greeting that begins with {magic!r}; is it one of our devices?")
        if version != VERSION:
            raise ProtocolError(
                f"the device speaks version {version} of the protocol, this program {VERSION}: "
                "update the older of the two"
            )
        rest = answer[GREETING.size :]
        if not 3 <= slots <= MAX_SLOTS or len(rest) < 4 * slots:
            raise ProtocolError(f"the device announces {slots} slots in {len(rest)} bytes")
        capacities = struct.unpack_from(f"<{slots}I", rest)
        if max(capacities) > LARGEST:
            raise ProtocolError(f"the device announces a slot of {max(capacities):,} bytes")
        if not SMALLEST_PAYLOAD <= payload <= LARGEST_PAYLOAD:
            raise ProtocolError(f"the device announces frames of {payload} bytes")
        name = rest[4 * slots :].decode("utf-8", "replace")
        printable = "".join(c if c.isprintable() else "?" for c in name)
        return cls(printable[:NAME], payload, ticks, capacities)


@dataclass(frozen=True)
class State:
    """What a device says of the model that lies in it.

    Attributes:
        arena_capacity: Bytes for activations that it has.
        arena_bytes: Bytes for activations that the model needs; 0 if there is none.
        stack_bytes: The most stack that was used so far; 0 if it cannot know.
        operators: Operators of the model.
        source: CRC-32 of the .tflite file from which the model was made.
        firmware: CRC-32 of the device's program; 0 if it cannot know.
        threads: Threads that the model runs on.
    """

    arena_capacity: int
    arena_bytes: int
    stack_bytes: int
    operators: int
    source: int
    firmware: int
    threads: int = 1


class Remote:
    """A framed device.

    Args:
        session: The link to it.
        seconds: Deadline of each request.

    Attributes:
        greeting: What the device says of itself.

    Raises:
        DeviceTimeout, DeviceLost, ProtocolError: If it does not answer as one of ours.
    """

    def __init__(self, session: Session, seconds: float = 5.0) -> None:
        self.session, self.seconds = session, seconds
        self.greeting = Greeting.parse(session.request(HELLO, MAGIC + bytes([VERSION]), seconds))

    def upload(
        self, slot: int, data: bytes, advance: Callable[[int], None] = lambda count: None
    ) -> None:
        """Puts bytes into a slot; one that broke off goes on where it was.

        Args:
            slot: `MODEL`, `INPUT` or `TFLITE`.
            data: What to put there.
            advance: Called with the number of bytes that have arrived so far.

        Raises:
            DeviceRefused: If the device has no room.
            DeviceError: As `Session.request`.
        """
        checksum = zlib.crc32(data)
        offset = self._count(BEGIN, struct.pack("<BII", slot, len(data), checksum), len(data))
        chunk = min(CHUNK, self.greeting.max_payload - 5)
        while offset < len(data):
            advance(offset)
            part = data[offset : offset + chunk]
            arrived = self._count(PUT, struct.pack("<BI", slot, offset) + part, len(data))
            if arrived <= offset:
                raise ProtocolError(f"the device has {arrived} bytes after {offset} were there")
            offset = arrived
        told = self._count(COMMIT, bytes([slot]), 1 << 32)
        if told != checksum:
            raise ProtocolError(f"the device has checksum {told:08x}, sent was {checksum:08x}")
        advance(len(data))

    def download(self, slot: int, length: int) -> bytes:
        """Reads the first bytes of a slot.

        Raises:
            DeviceRefused: If there are fewer.
            DeviceError: As `Session.request`.
        """
        data = b""
        while len(data) < length:
            count = min(CHUNK, self.greeting.max_payload, length - len(data))
            asked = struct.pack("<BIH", slot, len(data), count)
            part = self.session.request(READ, asked, self.seconds)
            if len(part) != count:
                raise ProtocolError(f"the device sent {len(part)} of {count} bytes")
            data += part
        return data

    def run(self, repeats: int, warm_up: int, seconds: float) -> list[int]:
        """Runs the model on the input that was put there; the output then lies in its slot.

        Args:
            repeats: Timed runs, up to `MOST_REPEATS`.
            warm_up: Runs before them, likewise.
            seconds: Deadline of all of them together.

        Returns:
            Ticks of each timed run.

        Raises:
            DeviceRefused: If there is no model or no input of its size.
            DeviceError: As `Session.request`.
        """
        answer = self.session.request(RUN, struct.pack("<HH", repeats, warm_up), seconds)
        if len(answer) != 8 * repeats:
            raise ProtocolError(f"{len(answer)} bytes for {repeats} runs")
        return list(struct.unpack(f"<{repeats}Q", answer))

    def profile(self, seconds: float) -> list[int]:
        """Ticks of each operator in one run.

        Raises:
            DeviceRefused: If there is no model or no input of its size.
            DeviceError: As `Session.request`.
        """
        answer = self.session.request(PROFILE, b"", seconds)
        if not answer or len(answer) % 4:
            raise ProtocolError(f"{len(answer)} bytes where ticks of operators were expected")
        return list(struct.unpack(f"<{len(answer) // 4}I", answer))

    def state(self) -> State:
        """What the device says of its model and of itself.

        Raises:
            DeviceError: As `Session.request`.
        """
        answer = self.session.request(REPORT, b"", self.seconds)
        if len(answer) not in (STATE.size, STATE.size + THREADS.size):
            raise ProtocolError(f"{len(answer)} bytes where a report was expected")
        (threads,) = THREADS.unpack(answer[STATE.size :] or THREADS.pack(1))
        if not 1 <= threads <= MOST_THREADS:
            raise ProtocolError(f"the device says that it runs {threads:,} threads")
        return replace(State(*STATE.unpack_from(answer)), threads=threads)

    def _count(self, kind: int, payload: bytes, most: int) -> int:
        answer = self.session.request(kind, payload, self.seconds)
        if len(answer) != 4:
            raise ProtocolError(f"an answer of {len(answer)} bytes where a number was expected")
        count = int.from_bytes(answer, "little")
        if count > most:
            raise ProtocolError(f"the device counts {count:,} of {most:,}")
        return count
