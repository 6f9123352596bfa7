"""Boards that QEMU emulates, running the firmware that comes with the project.

Instructions are counted, not timed: `-icount shift=0` gives every one a nanosecond of the board's
own clock, so that two runs differ by no more than the clock's last digit. That is no cycle count:
no pipeline, no cache, no wait states.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from emnas_gym.errors import BackendMissing
from hardware.errors import DeviceError

QEMU = "qemu-system-arm"
PREBUILT = Path(__file__).parent / "firmware" / "prebuilt"
SECONDS_TO_START = 20.0
TERMINAL = re.compile(r"char device redirected to (\S+)")


@dataclass(frozen=True)
class Board:
    """A board that can be emulated.

    Attributes:
        machine: QEMU's name for it; also the stem of its firmware.
        core: Its processor.
        instructions_a_tick: Instructions that pass in one tick of its clock.
    """

    machine: str
    core: str
    instructions_a_tick: int = 40  # 1 ns an instruction, 25 MHz


BOARDS = {
    "cortex-m3": Board("mps2-an385", "Cortex-M3"),
    "cortex-m4": Board("mps2-an386", "Cortex-M4"),
    "cortex-m7": Board("mps2-an500", "Cortex-M7"),
}


class Emulator:
    """A running board; a context manager that ends it.

    Args:
        board: Which.
        firmware: ELF file; the one that comes with the project if None.

    Attributes:
        url: Where its serial line is.

    Raises:
        BackendMissing: If QEMU is not installed.
        DeviceError: If it does not start.
    """

    def __init__(self, board: Board, firmware: Path | None = None) -> None:
        program = shutil.which(QEMU)
        if program is None:
            raise BackendMissing(f"{QEMU} is not installed: apt-get install {QEMU}")
        self.board = board
        firmware = firmware or PREBUILT / f"{board.machine}.elf"
        if not firmware.is_file():
            raise DeviceError(f"{firmware}: no such firmware")
        self._folder = tempfile.TemporaryDirectory(prefix="emnas-qemu-")
        self._control = Path(self._folder.name) / "qmp"
        self._log = Path(self._folder.name) / "log"
        command = [program, "-M", board.machine, "-nographic", "-monitor", "none"]
        command += ["-serial", "pty", "-icount", "shift=0", "-kernel", str(firmware)]
        command += ["-qmp", f"unix:{self._control},server=on,wait=off"]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            self.url = self._terminal()
        except BaseException:
            self.close()
            raise

    def _terminal(self) -> str:
        end = time.monotonic() + SECONDS_TO_START
        while time.monotonic() < end:
            said = self._log.read_text(errors="replace")
            found = TERMINAL.search(said)
            if found:
                return found[1]
            if self._process.poll() is not None:
                raise DeviceError(f"{QEMU} ended at once: {' '.join(said.split())}")
            time.sleep(0.02)
        raise DeviceError(f"{QEMU} did not start in {SECONDS_TO_START:g} s")

    def control(self, command: str) -> dict[str, Any]:
        """Tells QEMU something: ``stop``, ``cont``, ``system_reset``, ``quit``.

        Returns:
            Its answer.

        Raises:
            DeviceError: If it does not obey.
        """
        try:
            with socket.socket(socket.AF_UNIX) as line:
                line.settimeout(SECONDS_TO_START)
                line.connect(str(self._control))
                answers = line.makefile("rw")
                answers.readline()  # its greeting
                for request in ("qmp_capabilities", command):
                    answers.write(json.dumps({"execute": request}) + "\n")
                    answers.flush()
                    answer: dict[str, Any] = json.loads(answers.readline())
                    while "event" in answer:
                        answer = json.loads(answers.readline())
                    if "error" in answer:
                        raise DeviceError(f"{QEMU}: {command}: {answer['error']}")
        except (OSError, ValueError) as error:
            raise DeviceError(f"{QEMU}: {command}: {error}") from error
        return answer

    def close(self) -> None:
        """Ends it."""
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()

    def __enter__(self) -> Self:
        """Returns itself."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Ends it."""
        self.close()
