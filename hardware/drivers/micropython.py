"""Runs code on a board over MicroPython's raw REPL, which the oldest forks have too.

The dialogue: Ctrl-C ends what runs, Ctrl-A enters raw mode, in which nothing is echoed; code and
Ctrl-D are answered by ``OK``, the output, Ctrl-D, the traceback if there is one, Ctrl-D and ``>``
(docs.micropython.org, "REPL"). No soft reset, which starts other programs on some boards, and no
raw-paste mode, which MicroPython has only since 1.14.
"""

from __future__ import annotations

import re
import time

from hardware.errors import DeviceError, DeviceRefused, DeviceTimeout, ProtocolError
from hardware.link.port import Deadline, Port

RAW, FRIENDLY, INTERRUPT, END = b"\x01", b"\x02", b"\x03", b"\x04"
PROMPT = b"raw REPL; CTRL-B to exit\r\n>"
LIMIT = 1 << 16  # bytes of output of one run
BLOCK = 64  # bytes sent at once: what the smallest boards can buffer
GAP = 0.001  # seconds between blocks, in which the board empties its buffer
QUIET = 0.1  # seconds of silence after which nothing more of the past will come
ATTEMPT = 1.0  # seconds to wait for the prompt before interrupting again
RECOVERY = 4.0  # seconds to get the prompt back after something went wrong
UNPARSED = "parser could not allocate"  # what MicroPython says of a heap too full to read code
COLLECT = "import gc\ngc.collect()"
MARK = "EMNAS "  # begins every line that scripts of ours print
WORDS = 200  # characters of a board's own words that are passed on


class RawRepl:
    """A board's raw REPL; it begins by interrupting whatever runs there.

    Args:
        port: An open line to the board.
        seconds: Deadline for the first prompt.
        baud: Symbols a second: blocks are sent no faster than the line takes them.

    Raises:
        DeviceTimeout: If nothing answers.
        ProtocolError: If what answers is no MicroPython.
        DeviceLost: If the connection broke.
    """

    def __init__(self, port: Port, seconds: float = 10.0, baud: int = 115_200) -> None:
        self.port = port
        self._pace = BLOCK * 10 / baud + GAP  # a byte is ten symbols
        self._received = bytearray()
        self._at_prompt = False
        self._settle(seconds)

    def run(self, code: str, seconds: float = 5.0) -> str:
        """Runs code, in the globals of the board's main module.

        A heap that is too scattered to parse it is tidied up once.

        Args:
            code: Lines of printable ASCII; short, as a board holds it in its heap.
            seconds: Deadline of all.

        Returns:
            What it printed.

        Raises:
            DeviceRefused: If it raised; the message is the last line of the traceback.
            DeviceTimeout: If it did not end in time; it was interrupted.
            ProtocolError: If the answer is garbled, or longer than `LIMIT`.
            DeviceLost: If the connection broke.
        """
        if not re.fullmatch(r"[\n\x20-\x7e]*", code):
            raise DeviceError(f"only printable ASCII can be sent to a REPL, not {code[:60]!r}")
        try:
            return self._run(code, seconds)
        except DeviceRefused as refusal:
            if UNPARSED not in str(refusal):
                raise
        self._run(COLLECT, seconds)  # of what cannot be parsed nothing was executed
        return self._run(code, seconds)

    def _run(self, code: str, seconds: float) -> str:
        if not self._at_prompt:  # what failed last time may have ended by now
            self._settle(RECOVERY)
        self._at_prompt = False
        deadline = Deadline(seconds)
        try:
            self._send((code or "pass").encode() + END, deadline)  # END alone resets the board
            output, traceback = self._answer(deadline)
        except (DeviceTimeout, ProtocolError) as error:
            raise type(error)(f"{error}{self._recover()}") from error
        self._at_prompt = True
        if traceback.strip():
            raise DeviceRefused(_last_line(traceback) + _said(output))
        return output.decode(errors="replace")

    def leave(self) -> None:
        """Goes back to the friendly REPL, for people and for other programs."""
        self._at_prompt = False
        self.port.write(FRIENDLY, Deadline(1.0))

    def _settle(self, seconds: float) -> None:
        """Interrupts and enters raw mode, again and again, until the prompt comes."""
        deadline = Deadline(seconds)
        while True:
            self.port.write(INTERRUPT * 2, deadline)
            said = self.port.drain(
                QUIET, most=ATTEMPT
            )  # a prompt from before is no answer to what follows
            self.port.write(RAW, deadline)
            found, heard = self._listen(Deadline(min(ATTEMPT, deadline.left)))
            if found:
                self.port.drain(
                    QUIET, most=ATTEMPT
                )  # a second prompt, if the first answer came late
                self._received.clear()
                self._at_prompt = True
                return
            if deadline.over:
                break
        said = (said + heard)[-60:]  # little may have come since the last attempt began
        if said:
            raise ProtocolError(f"{self.port.url}: this is no MicroPython, it says {said!r}")
        raise DeviceTimeout(f"{self.port.url}: no prompt in {seconds:g} s: is the board on?")

    def _listen(self, deadline: Deadline) -> tuple[bool, bytes]:
        """Whether the prompt of raw mode came, and the last that was heard."""
        heard = b""
        while data := self.port.read(deadline):
            heard += data
            if PROMPT in heard:
                return True, heard
            heard = heard[-LIMIT:]
            if deadline.over:  # a flood is read no longer than the deadline
                break
        return False, heard

    def _recover(self) -> str:
        """Gets the prompt back after an error, or says that it could not."""
        try:
            self._settle(RECOVERY)
        except (DeviceTimeout, ProtocolError):
            return "; it does not react to Ctrl-C either: reset it"
        return ""

    def _send(self, data: bytes, deadline: Deadline) -> None:
        for start in range(0, len(data), BLOCK):
            if start:
                time.sleep(self._pace)
            self.port.write(data[start : start + BLOCK], deadline)

    def _answer(self, deadline: Deadline) -> tuple[bytes, bytes]:
        self._received.clear()
        while len(self._received) < 2:
            self._receive(deadline)
        if not self._received.startswith(b"OK"):
            raise ProtocolError(f"instead of OK the board says {bytes(self._received[:60])!r}")
        del self._received[:2]
        output, traceback = self._until(END, deadline), self._until(END, deadline)
        if self._until(b">", deadline):
            raise ProtocolError("the board says more than output and traceback")
        return output, traceback

    def _until(self, mark: bytes, deadline: Deadline) -> bytes:
        start = 0
        while (end := self._received.find(mark, start)) < 0:
            start = len(self._received)
            if start > LIMIT:
                raise ProtocolError(f"the board floods the line: more than {LIMIT:,} bytes")
            self._receive(deadline)
        found = bytes(self._received[:end])
        del self._received[: end + len(mark)]
        return found

    def _receive(self, deadline: Deadline) -> None:
        data = b"" if deadline.over else self.port.read(deadline)
        if not data:
            raise DeviceTimeout(f"the board did not finish in {deadline.seconds:g} s")
        self._received += data


def printable(text: str) -> str:
    """A board's own words, safe to show: one line, without control characters, not endless."""
    return "".join(c if c.isprintable() else "?" for c in text.strip())[:WORDS]


def _last_line(traceback: bytes) -> str:
    lines = traceback.decode(errors="replace").strip().splitlines()
    return printable(lines[-1])


def _said(output: bytes) -> str:
    """What was printed last before an error: some boards explain themselves there."""
    lines = output.decode(errors="replace").strip().splitlines()
    lines = [line for line in lines if not line.startswith(MARK)]
    return f" (after printing {printable(lines[-1])!r})" if lines else ""
