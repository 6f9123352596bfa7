"""Request and answer over frames: stop and wait, repeated until answered or the deadline is over.

The round-trip estimate is that of RFC 6298, the rule which samples count that of Karn and Partridge
(1987). A request that is repeated keeps its number; a device that knows the number already repeats
its answer and does nothing twice. An answer that arrives damaged is asked for again at once.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

from hardware.errors import DeviceRefused, DeviceTimeout, ProtocolError
from hardware.link.framing import MAX_PAYLOAD, SEQUENCE, Frame, Unpacker, pack
from hardware.link.messages import ANSWER, NOTE, PROGRESS, REFUSAL
from hardware.link.port import Deadline, Port

LEAST, FIRST, MOST = 0.05, 0.3, 2.0  # seconds until a request is repeated
NOTES = 100  # notes of the device that are kept


class RoundTrip:
    """How long an answer takes, and how long to wait for one (RFC 6298, section 2)."""

    def __init__(self) -> None:
        self._wait = FIRST
        self._mean: float | None = None
        self._deviation = 0.0

    def wait(self, tries: int) -> float:
        """Seconds until a request that was sent so often is repeated.

        The wait doubles with every try of one request, and is short again for the next one: bytes
        that a line loses are no sign of a crowd.
        """
        return min(self._wait * 2.0 ** min(tries - 1, 10), MOST)

    def sample(self, seconds: float) -> None:
        """Takes in one answer to a request that was sent once."""
        if self._mean is None:
            self._mean, self._deviation = seconds, seconds / 2
        else:
            self._deviation += (abs(self._mean - seconds) - self._deviation) / 4
            self._mean += (seconds - self._mean) / 8
        self._wait = min(max(self._mean + 4 * self._deviation, LEAST), MOST)


class Session:
    """The host's end of the link.

    Args:
        port: The open line.
        start: Number of the first request; a random one if None, so that what still lies in a
            buffer from an earlier session is not taken for an answer.

    Attributes:
        retries: Requests sent again.
        stale: Answers to earlier requests, ignored.
        notes: Latest texts that the device sent on its own.
    """

    def __init__(self, port: Port, start: int | None = None) -> None:
        self.port = port
        self.retries = self.stale = 0
        self.notes: deque[str] = deque(maxlen=NOTES)
        self._seq = random.randrange(SEQUENCE) if start is None else start
        self._unpacker = Unpacker()
        self._trip = RoundTrip()
        self._waiting: deque[Frame] = deque()

    @property
    def damaged(self) -> int:
        """Stretches of bytes that were no frame."""
        return self._unpacker.damaged

    def request(
        self,
        kind: int,
        payload: bytes = b"",
        seconds: float = 10.0,
        progress: Callable[[bytes], None] | None = None,
    ) -> bytes:
        """Asks, and returns the payload of the answer.

        Args:
            kind: What is asked, below 0x80.
            payload: Up to `MAX_PAYLOAD` bytes.
            seconds: Deadline, whatever comes; a device that says that it is at work is not asked
                again as long as it goes on saying so.
            progress: Called with what the device says of its work.

        Raises:
            DeviceTimeout: If the deadline passes.
            DeviceLost: If the connection breaks.
            DeviceRefused: If the device says no, with its words.
            ProtocolError: If another kind of answer comes under this request's number.
        """
        self._seq = (self._seq + 1) % SEQUENCE
        sent = pack(Frame(kind, self._seq, payload))
        deadline, tries = Deadline(seconds), 0
        while not deadline.over:
            self.port.write(sent, deadline)
            tries += 1
            waited = Deadline(min(self._trip.wait(tries), deadline.left))
            while (frame := self._next(waited)) is not None:
                if frame.kind == PROGRESS:
                    if deadline.over:
                        break
                    waited = Deadline(min(MOST, deadline.left))
                    if progress is not None:
                        progress(frame.payload)
                    continue
                if tries == 1:
                    self._trip.sample(self._trip_time(waited))
                return _content(frame, kind)
            self.retries += 1
        raise DeviceTimeout(
            f"{self.port.url}: no answer to request {kind:#04x} in {seconds:g} s, asked "
            f"{tries} times ({self.damaged} damaged frames so far)"
        )

    @staticmethod
    def _trip_time(waited: Deadline) -> float:
        return waited.seconds - waited.left

    def _next(self, deadline: Deadline) -> Frame | None:
        """The next frame under the present number; None where it is time to ask again."""
        damaged = self.damaged
        while True:
            while self._waiting:
                frame = self._waiting.popleft()
                if frame.kind == NOTE:
                    self.notes.append(frame.payload.decode("utf-8", "replace"))
                elif frame.seq == self._seq and frame.kind >= ANSWER:
                    return frame
                else:
                    self.stale += 1
            if self.damaged > damaged or deadline.over:  # babble does not outlast the deadline
                return None
            data = self.port.read(deadline)
            if not data:
                return None
            self._waiting.extend(self._unpacker.feed(data))


def _content(frame: Frame, kind: int) -> bytes:
    if frame.kind == REFUSAL:
        words = frame.payload.decode("utf-8", "replace").strip() or "no reason given"
        raise DeviceRefused(f"the device refused: {words}")
    if frame.kind != kind | ANSWER:
        raise ProtocolError(f"request {kind:#04x} was answered by {frame.kind:#04x}")
    if len(frame.payload) > MAX_PAYLOAD:
        raise ProtocolError(f"an answer of {len(frame.payload)} bytes")
    return frame.payload
