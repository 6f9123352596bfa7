"""The board's end of the framed link: `firmware/agent.c` once more, for .tflite files."""

from __future__ import annotations

import struct
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from hardware.link.framing import MAX_PAYLOAD, Frame, Unpacker, pack
from hardware.link.messages import (
    ANSWER,
    BEGIN,
    COMMIT,
    GREETING,
    HELLO,
    INPUT,
    MAGIC,
    MOST_REPEATS,
    NOTE,
    OUTPUT,
    PROGRESS,
    PUT,
    READ,
    REFUSAL,
    REPORT,
    RUN,
    STATE,
    TFLITE,
    THREADS,
    VERSION,
)
from hardware.linux.runner import Refused, Runner, conditions

CAPACITIES = {INPUT: 16 << 20, OUTPUT: 1 << 20, TFLITE: 64 << 20}  # bytes; no more is taken
SLOTS = 4
TICKS_PER_SECOND = 1_000_000_000
TELL_SECONDS = 0.25  # between two signs that the work goes on


@dataclass
class Slot:
    """Memory that the host fills."""

    capacity: int
    length: int = 0  # as announced
    checksum: int = 0
    data: bytearray = field(default_factory=bytearray)
    whole: bool = False


class Agent:
    """Answers requests; one at a time, and the same one twice with the same answer.

    Args:
        runner: What runs the models.
        send: Takes the bytes for the host.
        name: What the board calls itself.
        firmware: Checksum of this program.
    """

    def __init__(
        self, runner: Runner, send: Callable[[bytes], None], name: str, firmware: int = 0
    ) -> None:
        self.runner, self.send, self.name, self.firmware = runner, send, name, firmware
        self.slots = [Slot(CAPACITIES.get(number, 0)) for number in range(SLOTS)]
        self._unpacker = Unpacker()
        self._seq = 0
        self._last: tuple[Frame, bytes] | None = None  # a request, and the bytes of its answer
        self._told = 0.0
        self._handlers = {
            HELLO: self._hello,
            BEGIN: self._begin,
            PUT: self._put,
            COMMIT: self._commit,
            READ: self._read,
            RUN: self._run,
            REPORT: self._report,
        }

    def take(self, data: bytes) -> None:
        """Takes in bytes of the line and answers the requests that they complete."""
        for frame in self._unpacker.feed(data):
            self._answer(frame)

    def _answer(self, frame: Frame) -> None:
        if self._last is not None and frame.kind != HELLO:
            asked, answered = self._last
            if (asked.kind, asked.seq) == (frame.kind, frame.seq):
                self.send(answered)  # asked again: say it again, do nothing twice
                return
        self._seq = frame.seq
        try:
            if frame.kind not in self._handlers:
                raise Refused("there is no such request")
            reply = Frame(frame.kind | ANSWER, frame.seq, self._handlers[frame.kind](frame.payload))
        except Refused as refusal:
            words = str(refusal).encode()[:MAX_PAYLOAD]
            reply = Frame(REFUSAL, frame.seq, words)
        except struct.error:
            reply = Frame(REFUSAL, frame.seq, b"the request is of another length")
        self._last = frame, pack(reply)
        self.send(self._last[1])

    def _hello(self, payload: bytes) -> bytes:
        if len(payload) < 5 or payload[:4] != MAGIC:
            raise Refused("not a greeting of this protocol")
        if payload[4] != VERSION:
            raise Refused(f"this device speaks version {VERSION} of the protocol only")
        head = GREETING.pack(MAGIC, VERSION, SLOTS, MAX_PAYLOAD, TICKS_PER_SECOND)
        sizes = struct.pack(f"<{SLOTS}I", *(slot.capacity for slot in self.slots))
        return head + sizes + self.name.encode()[:64]

    def _slot(self, number: int) -> Slot:
        if number >= SLOTS:
            raise Refused("there is no such slot")
        return self.slots[number]

    def _begin(self, payload: bytes) -> bytes:
        number, length, checksum = struct.unpack("<BII", payload)
        slot = self._slot(number)
        if length > slot.capacity:
            raise Refused("larger than the memory of this slot")
        if (length, checksum) != (slot.length, slot.checksum):  # else an upload goes on
            self.slots[number] = slot = Slot(slot.capacity, length, checksum)
        return struct.pack("<I", len(slot.data))

    def _put(self, payload: bytes) -> bytes:
        number, offset = struct.unpack_from("<BI", payload)
        slot, data = self._slot(number), payload[5:]
        if offset > len(slot.data):
            raise Refused("bytes before these are missing")
        if offset + len(data) > slot.length:
            raise Refused("beyond the announced length")
        slot.data[offset : offset + len(data)] = data
        slot.whole = False
        return struct.pack("<I", len(slot.data))

    def _commit(self, payload: bytes) -> bytes:
        (number,) = struct.unpack("<B", payload)
        slot = self._slot(number)
        if len(slot.data) != slot.length:
            raise Refused("not all bytes are here")
        if zlib.crc32(slot.data) != slot.checksum:
            slot.data.clear()
            raise Refused("the checksum differs: send it again")
        slot.whole = True
        return struct.pack("<I", slot.checksum)

    def _read(self, payload: bytes) -> bytes:
        number, offset, count = struct.unpack("<BIH", payload)
        slot = self._slot(number)
        if not slot.whole:
            raise Refused("nothing whole lies in this slot")
        if count > MAX_PAYLOAD or offset + count > slot.length:
            raise Refused("beyond the end")
        return bytes(slot.data[offset : offset + count])

    def _run(self, payload: bytes) -> bytes:
        repeats, warm_up = struct.unpack("<HH", payload)
        if not 1 <= repeats <= MOST_REPEATS or warm_up > MOST_REPEATS:
            raise Refused(f"1 to {MOST_REPEATS} repeats after up to {MOST_REPEATS} warm-ups")
        if not self.slots[TFLITE].whole:
            raise Refused("no model")
        if not self.slots[INPUT].whole:
            raise Refused("no input of the model's size")
        self._told = time.monotonic()
        self.runner.open(bytes(self.slots[TFLITE].data))
        image = bytes(self.slots[INPUT].data)
        took, output = self.runner.run(image, repeats, warm_up, self._tell)
        if len(output) > self.slots[OUTPUT].capacity:
            raise Refused("the model's output is larger than the memory for it")
        self.slots[OUTPUT] = Slot(
            self.slots[OUTPUT].capacity, len(output), zlib.crc32(output), bytearray(output), True
        )
        for note in conditions():
            self.send(pack(Frame(NOTE, self._seq, note.encode()[:MAX_PAYLOAD])))
        return struct.pack(f"<{repeats}Q", *took)

    def _tell(self) -> None:
        """Says now and then that the work goes on, so that the host waits."""
        if time.monotonic() - self._told >= TELL_SECONDS:
            self._told = time.monotonic()
            self.send(pack(Frame(PROGRESS, self._seq)))

    def _report(self, _: bytes) -> bytes:
        state = STATE.pack(0, 0, 0, 0, self.runner.source, self.firmware)
        return state + THREADS.pack(self.runner.threads)
