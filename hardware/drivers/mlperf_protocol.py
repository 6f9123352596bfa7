"""The text protocol of MLPerf Tiny's boards: commands end with ``%``, answers with ``m-ready``.

Read in mlcommons/tiny, `benchmark/api` and `benchmark/runner`, which took it over from EEMBC's
runner: ASCII at 115,200 baud, commands of up to 80 characters, errors as ``e-[...]``. A board
cannot be asked again for an answer that was lost: whatever is damaged ends the command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hardware.errors import DeviceRefused, DeviceTimeout, ProtocolError
from hardware.link.port import Deadline, Port

READY = "m-ready"
CHUNK = 31  # bytes of one "db": a command has at most 80 characters
LONGEST_LINE = 16_384  # a thousand results
MOST_LINES = 256  # of one answer, blank ones and noise before it included
MOST_RESULTS = 4096
LARGEST_RESULT = 1e30
TRIES = 3  # of the first command: a board that boots loses what it is sent
SHOWN = 120  # characters of a board's words in a message
NAME = re.compile(r"m-name-[^-\[\]]*-\[([^\]]*)\]")
EXPECTING = re.compile(r"m-\[Expecting (\d{1,9}) bytes\]")
NUMBER = re.compile(r"\d{1,20}")
REAL = re.compile(r"-?\d{1,20}(\.\d{0,20})?(e[+-]?\d{1,3})?", re.IGNORECASE)
REFUSAL = re.compile(r"e-\[(.*)\]?")


@dataclass(frozen=True)
class Inference:
    """What a board said of some runs of its network.

    Attributes:
        microseconds: Of all runs together, by the board's clock.
        runs: Number of them.
        results: The last run's output as real numbers.
    """

    microseconds: int
    runs: int
    results: tuple[float, ...]

    @classmethod
    def parse(cls, lines: Sequence[str], runs: int) -> Inference:
        """Reads the answer to ``infer``.

        Args:
            lines: Of the answer.
            runs: That were asked for.

        Raises:
            ProtocolError: If a part is missing or no number, or the board ran another number of
                times: a character of the command was lost.
        """
        started = _numbers("infer-start", lines)
        if started != [runs]:
            began = ", ".join(map(str, started)) or "none"
            raise ProtocolError(f"the board was asked for {runs} runs and began {began}")
        laps = _numbers("lap-us", lines)
        if len(laps) != 2:
            raise ProtocolError(
                f"{len(laps)} times of the board's clock, not 2; firmware that was built for "
                "measuring energy gives none"
            )
        if laps[1] < laps[0]:
            raise ProtocolError(f"the board's clock went back, from {laps[0]} to {laps[1]} us")
        return cls(laps[1] - laps[0], runs, _results(lines))


class Dialogue:
    """Commands to one board, and their answers.

    Args:
        port: Where it is.
        seconds: Deadline of each command.
    """

    def __init__(self, port: Port, seconds: float) -> None:
        self._port, self.seconds = port, seconds
        self._rest = b""  # what came behind the last line

    def command(self, text: str, deadline: Deadline | None = None) -> list[str]:
        """Sends a command and returns the lines of its answer, without ``m-ready``.

        Raises:
            DeviceRefused: If the answer has an error in it.
            ProtocolError: If it has too many lines, or too long ones.
            DeviceError: If the board is silent or gone.
        """
        deadline = deadline or Deadline(self.seconds)
        self._send(text, deadline)
        lines: list[str] = []
        for line in self._lines(text, deadline):
            if line.endswith(READY):
                break
            lines.append(line)
        for line in lines:
            refusal = REFUSAL.match(line)
            if refusal:
                words = refusal[1].removesuffix("]")
                raise DeviceRefused(f"the board said no to {shown(text)!r}: {shown(words)}")
        return lines

    def greet(self) -> str:
        """The board's name; what it says before that is left out, such as a late answer.

        Raises:
            DeviceError: If it is silent, gone, or no such board.
        """
        for tries in range(1, TRIES + 1):
            self._port.drain()
            try:
                return self._name(Deadline(self.seconds / TRIES))
            except DeviceTimeout:
                if tries == TRIES:
                    raise
        raise AssertionError("unreachable")

    def about(self) -> tuple[str, str]:
        """The board's words for its firmware and for its model.

        Raises:
            ProtocolError: If it does not say them.
            DeviceError: If it is silent or gone.
        """
        lines = self.command("profile")
        return _words("profile", lines), _words("model", lines)

    def load(self, data: bytes) -> None:
        """Sends an input.

        Raises:
            DeviceRefused: If the board takes no input of this size.
            ProtocolError: If not all of it arrived.
            DeviceError: If the board is silent or gone.
        """
        lines = self.command(f"db load {len(data)}")
        expecting = [found[1] for found in map(EXPECTING.fullmatch, lines) if found]
        if expecting != [str(len(data))]:
            said = shown("; ".join(lines)) or "nothing"
            raise DeviceRefused(f"the board takes no input of {len(data)} bytes; it said: {said}")
        for start in range(0, len(data), CHUNK):
            lines = self.command(f"db {data[start : start + CHUNK].hex()}")
            done = any("m-load-done" in line for line in lines)
            if done != (start + CHUNK >= len(data)):
                end = min(start + CHUNK, len(data))
                raise ProtocolError(
                    f"after {end} of {len(data)} bytes of the input the board says that it has "
                    f"{'all' if done else 'not all'}: some were lost on the way"
                )

    def infer(self, runs: int, warm_ups: int, deadline: Deadline) -> Inference:
        """Runs the network on the input.

        Raises:
            DeviceRefused: If the board does not.
            ProtocolError: If its answer is damaged.
            DeviceError: If it is silent or gone.
        """
        return Inference.parse(self.command(f"infer {runs} {warm_ups}", deadline), runs)

    def _name(self, deadline: Deadline) -> str:
        self._send("name", deadline)
        name = None
        for line in self._lines("name", deadline):
            found = NAME.search(line)
            if found:
                name = shown(found[1]) or "unnamed"
            elif name is not None and line.endswith(READY):
                return name
        raise AssertionError("unreachable")

    def _send(self, text: str, deadline: Deadline) -> None:
        self._rest = b""
        self._port.write(f"{text}%".encode("ascii"), deadline)

    def _lines(self, asked: str, deadline: Deadline) -> Iterator[str]:
        """Lines as they come; the end is an error: whoever reads them stops at ``m-ready``."""
        for count in range(MOST_LINES):
            while b"\n" not in self._rest:
                data = self._port.read(deadline)
                if not data:
                    raise DeviceTimeout(
                        f"no {READY} to {shown(asked)!r} in {deadline.seconds:g} s, "
                        f"after {count} other lines; is it on, and is the baud rate right?"
                    )
                self._rest += data
                if len(self._rest) > LONGEST_LINE and b"\n" not in self._rest:
                    raise ProtocolError(f"more than {LONGEST_LINE:,} bytes without a line's end")
            line, _, self._rest = self._rest.partition(b"\n")
            yield line.decode("ascii", "replace").strip()
        raise ProtocolError(f"{MOST_LINES} lines without {READY} to {shown(asked)!r}")


def shown(words: str) -> str:
    """Words of a board as they may be printed: no control characters, not too many."""
    return "".join(c if " " <= c <= "~" else "?" for c in words[:SHOWN])


def _text(name: str, lines: Sequence[str]) -> str:
    """What stands in the brackets of a message."""
    for line in lines:
        found = re.search(rf"m-{name}-\[([^\]]*)\]", line)
        if found:
            return found[1]
    said = shown("; ".join(lines))
    raise ProtocolError(f"no m-{name}-[...] in the board's answer: {said!r}")


def _words(name: str, lines: Sequence[str]) -> str:
    return shown(_text(name, lines)) or "unnamed"


def _numbers(name: str, lines: Sequence[str]) -> list[int]:
    """The numbers of all messages of a name."""
    start = f"m-{name}-"
    words = [line.removeprefix(start) for line in lines if line.startswith(start)]
    for word in words:
        if not NUMBER.fullmatch(word):
            raise ProtocolError(f"not a number: {shown(start + word)!r}")
    return [int(word) for word in words]


def _results(lines: Sequence[str]) -> tuple[float, ...]:
    said = _text("results", lines).removesuffix(",")  # some firmware ends with a comma
    words = [word.strip() for word in said.split(",", MOST_RESULTS)]
    if len(words) > MOST_RESULTS:
        raise ProtocolError(f"more than {MOST_RESULTS} results")
    for word in words:
        if not REAL.fullmatch(word) or abs(float(word)) > LARGEST_RESULT:
            raise ProtocolError(f"not a number of a network: {shown(word)!r}")
    return tuple(float(word) for word in words)
