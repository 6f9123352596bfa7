"""Frames on a serial line: consistent overhead byte stuffing, a checksum, a number.

A frame is ``COBS(kind, seq, payload, CRC-32) 00``: the zero byte stands between frames and nowhere
else, so that a receiver finds the next frame after whatever was lost (Cheshire and Baker, 1999,
"Consistent Overhead Byte Stuffing").

| field | bytes | |
| --- | --- | --- |
| kind | 1 | what is asked; the answer has the highest bit set |
| seq | 2 | little endian; the answer repeats that of its request |
| payload | 0 … 1024 | |
| CRC-32 | 4 | little endian, zlib's, of all before it |
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

MAX_PAYLOAD = 1024
HEADER, CHECKSUM = struct.Struct("<BH"), struct.Struct("<I")
MAX_BODY = HEADER.size + MAX_PAYLOAD + CHECKSUM.size
MAX_ENCODED = MAX_BODY + MAX_BODY // 254 + 1
SEQUENCE = 1 << 16  # numbers of requests wrap around here
BLOCK = 254  # bytes that one code byte can announce


@dataclass(frozen=True)
class Frame:
    """One message.

    Attributes:
        kind: What it is, 0 … 255.
        seq: Number of the request that it is or answers, 0 … 65,535.
        payload: Up to `MAX_PAYLOAD` bytes.
    """

    kind: int
    seq: int
    payload: bytes = b""


def stuff(data: bytes) -> bytes:
    """Encodes bytes so that none is zero; at most one byte in 254 is added, and one more."""
    coded = bytearray()
    for block in data.split(b"\0"):
        while len(block) >= BLOCK:
            coded += b"\xff" + block[:BLOCK]
            block = block[BLOCK:]
        coded += bytes([len(block) + 1]) + block
    return bytes(coded)


def unstuff(coded: bytes) -> bytes | None:
    """Decodes what `stuff` encoded; None if it did not."""
    data, at = bytearray(), 0
    while at < len(coded):
        code = coded[at]
        block = coded[at + 1 : at + code]
        if code == 0 or len(block) != code - 1 or 0 in block:
            return None
        data += block
        at += code
        if code <= BLOCK and at < len(coded):
            data.append(0)
    return bytes(data)


def pack(frame: Frame) -> bytes:
    """The bytes of a frame on the line, zero bytes at both ends.

    Raises:
        ValueError: If a field is out of range.
    """
    if len(frame.payload) > MAX_PAYLOAD:
        raise ValueError(f"a frame holds {MAX_PAYLOAD} bytes, not {len(frame.payload)}")
    try:
        body = HEADER.pack(frame.kind, frame.seq) + frame.payload
    except struct.error as error:
        raise ValueError(f"kind {frame.kind} or number {frame.seq} is out of range") from error
    return b"\0" + stuff(body + CHECKSUM.pack(zlib.crc32(body))) + b"\0"


class Unpacker:
    """Finds frames in a stream that may have lost, changed or gained bytes.

    Attributes:
        damaged: Stretches between zero bytes that were no frame.
    """

    def __init__(self) -> None:
        self._part = bytearray()
        self._too_long = False
        self.damaged = 0

    def feed(self, data: bytes) -> list[Frame]:
        """Takes in bytes and returns the frames that they complete."""
        frames = []
        *ends, rest = data.split(b"\0")
        for end in ends:
            self._append(end)
            frame = self._finish()
            if frame is not None:
                frames.append(frame)
        self._append(rest)
        return frames

    def _append(self, data: bytes) -> None:
        """Keeps no more than a frame can have, however long the other end babbles."""
        room = MAX_ENCODED - len(self._part)
        self._too_long |= len(data) > room
        self._part += data[:room]

    def _finish(self) -> Frame | None:
        part, too_long = bytes(self._part), self._too_long
        self._part.clear()
        self._too_long = False
        if not part:
            return None
        frame = None if too_long else _parse(part)
        self.damaged += frame is None
        return frame


def _parse(coded: bytes) -> Frame | None:
    data = unstuff(coded)
    if data is None or not HEADER.size + CHECKSUM.size <= len(data) <= MAX_BODY:
        return None
    body, checksum = data[: -CHECKSUM.size], data[-CHECKSUM.size :]
    if CHECKSUM.unpack(checksum)[0] != zlib.crc32(body):
        return None
    kind, seq = HEADER.unpack_from(body)
    return Frame(kind, seq, body[HEADER.size :])
