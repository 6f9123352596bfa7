"""Boards for the tests of MLPerf Tiny's protocol: our firmware here and on QEMU, and liars."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from faulty_line import Faults, FaultyLine

from hardware.c_project import network_header
from hardware.deployment import Deployment
from hardware.firmware_builder import build_mlperf_native

ROOT = Path(__file__).parents[1]


def header_folder(folder: Path, deployment: Deployment) -> Path:
    """Writes ``network.h`` and returns where it lies."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "network.h").write_text(network_header(deployment))
    return folder


def native(folder: Path, deployment: Deployment, *flags: str) -> list[str]:
    """Compiles the firmware for this machine and returns the command that runs it."""
    header_folder(folder, deployment)
    return [str(build_mlperf_native(folder, folder / "board", *flags, optimise="-O1"))]


class RecordingLine(FaultyLine):
    """A line that remembers what went over it, ``>`` before the host's part.

    Args:
        program: Command of the device.
        lose: Bytes that are left out, once, of what the host says.
    """

    def __init__(self, program: list[str], lose: bytes = b"") -> None:
        self.said: list[tuple[str, bytes]] = []
        self._lose = lose
        super().__init__(program, Faults())

    def _pass_on(self, target: int, data: bytes) -> None:
        who = "<" if target == self._host else ">"
        if who == ">" and self._lose and self._lose in data:
            data, self._lose = data.replace(self._lose, b"", 1), b""
        if self.said and self.said[-1][0] == who:
            who, before = self.said.pop()
            self.said.append((who, before + data))
        else:
            self.said.append((who, data))
        super()._pass_on(target, data)

    @property
    def transcript(self) -> str:
        """All that was said, a command or a line of an answer a line."""
        lines = []
        for who, data in self.said:
            text = data.decode("ascii")
            lines += [f"{who} {line}" for line in text.replace("%", "%\n").splitlines()]
        return "\n".join(lines)


class Liar(FaultyLine):
    """A board whose answers are a Python expression.

    In it, ``asked`` is the command and ``good`` the answer of a good board that takes 64 bytes and
    has four results; every inference takes it 50 ms.

    Args:
        answers: Of every command: what is written, in turn.
        first: What is written before the first command.
    """

    SOURCE = """
import os
loaded = 0
def answer(words):
    global loaded
    if words[0] == b"name":
        yield b"m-name-dut-[ACME]"
    elif words[0] == b"profile":
        yield b"m-profile-[ULPMark for tinyML Firmware V0.0.1]"
        yield b"m-model-[ic01]"
    elif words[1] == b"load":
        loaded = 0
        yield b"m-[Expecting %s bytes]" % words[2]
    elif words[0] == b"db":
        loaded += len(words[1]) // 2
        if loaded >= 64: yield b"m-load-done"
    elif words[0] == b"infer":
        yield b"m-warmup-start-" + words[2]
        yield b"m-warmup-done"
        yield b"m-infer-start-" + words[1]
        yield b"m-lap-us-1000"
        yield b"m-lap-us-%d" % (1000 + 50000 * int(words[1]))
        yield b"m-infer-done"
        yield b"m-results-[{results}]"
text = b""
os.write(1, {first!r})
while data := os.read(0, 4096):
    *commands, text = (text + data).split(b"%")
    for asked in commands:
        good = b"".join(line + b"\\r\\n" for line in (*answer(asked.split()), b"m-ready"))
        for part in {answers}:
            os.write(1, part)
"""

    def __init__(self, results: str, answers: str = "[good]", first: bytes = b"") -> None:
        source = self.SOURCE.format(results=results, answers=answers, first=first)
        super().__init__([sys.executable, "-c", source])


class FlashableBoard(FaultyLine):
    """A board that runs the firmware in a file; once that is killed it starts what lies there now.

    Args:
        folder: For its firmware.
        deployment: The network that it begins with.

    Attributes:
        command: Builds the firmware for the network of a ``{header}``, flashes it and resets the
            board; first it opens the board's port, which must be free.
    """

    SUPERVISOR = """
import subprocess, sys
from pathlib import Path
while True:
    firmware = subprocess.Popen([sys.argv[1]])
    Path(sys.argv[1] + ".pid").write_text(str(firmware.pid))
    if firmware.wait() >= 0:
        break  # the line has ended
"""
    FLASHER = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from hardware.firmware_builder import build_mlperf_native
from hardware.link.port import Port
port, header, board = sys.argv[1:]
Port(port).close()
build_mlperf_native(Path(header).parent, Path(board + ".new")).replace(board)
os.kill(int(Path(board + ".pid").read_text()), signal.SIGKILL)
"""

    def __init__(self, folder: Path, deployment: Deployment) -> None:
        firmware = native(folder, deployment)[0]
        flasher = folder / "flasher.py"
        flasher.write_text(self.FLASHER.format(root=str(ROOT)))
        super().__init__([sys.executable, "-c", self.SUPERVISOR, firmware])
        words = [sys.executable, str(flasher), self.path, "{header}", firmware]
        self.command = shlex.join(words)
