"""Runs .tflite files on a board and times them."""

from __future__ import annotations

import gc
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hardware.backend import Backend

THERMAL = Path("/sys/class/thermal")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


class Refused(Exception):
    """What the board will not do; the message goes to the host."""


class Runner:
    """One model in an interpreter.

    Args:
        backend: The interpreter.
        threads: Threads of the interpreter.

    Attributes:
        source: CRC-32 of the file that is open; 0 if there is none.
    """

    def __init__(self, backend: Backend, threads: int = 1) -> None:
        self.backend, self.threads, self.source = backend, threads, 0
        self._interpreter: Any = None

    def open(self, content: bytes) -> None:
        """Opens a model, unless it is open already.

        Raises:
            Refused: If the interpreter does.
        """
        source = zlib.crc32(content)
        if self._interpreter is not None and source == self.source:
            return
        self.close()
        if content[4:8] != b"TFL3":
            raise Refused("not a .tflite file")
        try:
            made = self.backend.module.Interpreter(model_content=content, num_threads=self.threads)
            made.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise Refused(f"the interpreter refuses the model: {error}") from error
        if len(made.get_input_details()) != 1 or len(made.get_output_details()) != 1:
            raise Refused("not one input and one output")
        self._interpreter, self.source = made, source

    def close(self) -> None:
        """Forgets the model."""
        self._interpreter, self.source = None, 0

    def run(
        self, image: bytes, repeats: int, warm_up: int, tell: Callable[[], None]
    ) -> tuple[list[int], bytes]:
        """Runs the open model.

        Args:
            image: One input in the model's own numbers.
            repeats: Timed runs.
            warm_up: Runs before them.
            tell: Called after each run.

        Returns:
            Nanoseconds of each timed run, and the bytes of the output.

        Raises:
            Refused: If the image is of another size, or a kernel fails.
        """
        taken, given = (
            details()[0]
            for details in (
                self._interpreter.get_input_details,
                self._interpreter.get_output_details,
            )
        )
        if len(image) != int(np.prod(taken["shape"])) * np.dtype(taken["dtype"]).itemsize:
            raise Refused("no input of the model's size")
        values = np.frombuffer(image, taken["dtype"]).reshape(taken["shape"])
        self._interpreter.set_tensor(taken["index"], values)
        try:
            took = [self._timed(tell) for _ in range(warm_up + repeats)][warm_up:]
        except (ValueError, RuntimeError) as error:
            raise Refused(f"the model fails when it runs: {error}") from error
        return took, self._interpreter.get_tensor(given["index"]).tobytes()

    def _timed(self, tell: Callable[[], None]) -> int:
        gc.disable()  # a collection in the middle would be timed as well
        try:
            start = time.perf_counter_ns()
            self._interpreter.invoke()
            took = time.perf_counter_ns() - start
        finally:
            gc.enable()
        tell()
        return took


def conditions() -> list[str]:
    """What may slow a board down: its temperatures, and the governor of its clock."""
    notes = []
    for zone in sorted(THERMAL.glob("thermal_zone*")):
        kind, millidegrees = _read(zone / "type"), _read(zone / "temp")
        if millidegrees.lstrip("-").isdigit():
            notes.append(f"{kind or zone.name} {int(millidegrees) / 1000:.1f} °C")
    governor = _read(GOVERNOR)
    return notes + ([f"clock governor {governor}"] if governor else [])


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
