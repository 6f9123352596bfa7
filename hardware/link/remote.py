"""What a framed device can be asked: who it is, and to take, check and give back bytes."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from hardware.errors import ProtocolError
from hardware.link.session import Session

MAGIC, VERSION = b"EMNS", 1
HELLO, BEGIN, PUT, COMMIT, READ = 0x01, 0x02, 0x03, 0x04, 0x05
MODEL, INPUT, OUTPUT = 0, 1, 2  # slots
CHUNK = 256  # bytes; a lost byte costs no more than this again
GREETING = struct.Struct("<4sBBHI")
LARGEST = 64 << 20  # bytes of a slot that are believed
SMALLEST_PAYLOAD, LARGEST_PAYLOAD = 16, 1024
MAX_SLOTS = 16
NAME = 64  # characters of a name that are kept


@dataclass(frozen=True)
class Greeting:
    """What a device says of itself.

    Attributes:
        name: Its name.
        max_payload: Bytes of the largest frame that it takes.
        ticks_per_second: Of its clock; 0 if it has none.
        capacities: Bytes of each slot: model, input, output.
    """

    name: str
    max_payload: int
    ticks_per_second: int
    capacities: tuple[int, ...]

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
            slot: `MODEL` or `INPUT`.
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

    def _count(self, kind: int, payload: bytes, most: int) -> int:
        answer = self.session.request(kind, payload, self.seconds)
        if len(answer) != 4:
            raise ProtocolError(f"an answer of {len(answer)} bytes where a number was expected")
        count = int.from_bytes(answer, "little")
        if count > most:
            raise ProtocolError(f"the device counts {count:,} of {most:,}")
        return count
