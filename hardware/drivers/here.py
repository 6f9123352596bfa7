"""Devices that need no cable: this machine, and an NPU that its compiler estimates."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from hardware.deployment import Deployment
from hardware.drivers.base import Answer, Driver
from hardware.errors import CompilerError, DeviceLost, DeviceRefused, ModelFileError
from hardware.npu_compiler import compile_apart, compile_model
from hardware.npu_configs import npu_config
from hardware.reading import Reading, Repeats
from hardware.timing import Protocol, Timing, time_models
from hardware.versions import compiler_version, interpreter_version

NANOSECONDS = 1e9


class HostDriver(Driver):
    """This machine; networks that are given together take turns, so that drift hits them alike.

    Each run that is reported is the mean of a block of runs, half a millisecond long, and the
    tenth percentile of the blocks counts: the speed without the neighbours.

    Args:
        address: Nothing; there is one machine.
        threads: Threads of the interpreter.
        rounds: Blocks of each network.
        processes: Fresh processes that repeat everything; the fastest counts.
        float32: Time the float32 file instead of the int8 one.
    """

    batch: ClassVar[int] = 64

    def __init__(
        self,
        address: str = "",
        threads: int = 1,
        rounds: int = Protocol.rounds,
        processes: int = 1,
        float32: bool = False,
    ) -> None:
        if address:
            raise DeviceRefused(f"the host has no address, so not {address!r}")
        self.threads, self.rounds, self.processes = threads, rounds, processes
        self.float32, self._open = float32, True

    @classmethod
    def formats_with(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        """The float32 file, where that is timed."""
        return ("float32",) if options.get("float32") else ()

    def describe(self) -> dict[str, str]:
        """The interpreter."""
        return {"name": "this machine", "interpreter": interpreter_version()}

    def measure(self, deployment: Deployment, repeats: Repeats) -> Reading:
        """Times one network."""
        return self._measure([deployment], repeats)[0]

    def measure_all(self, deployments: Sequence[Deployment], repeats: Repeats) -> list[Answer]:
        """Times several networks in turns."""
        return [*self._measure(deployments, repeats)]

    def _measure(self, deployments: Sequence[Deployment], repeats: Repeats) -> list[Reading]:
        if not self._open:
            raise DeviceLost("the host was closed")
        protocol = Protocol(
            rounds=self.rounds,
            warmup=max(Protocol.warmup, repeats.warm_up),
            model_seconds=min(Protocol.model_seconds, repeats.seconds),
            threads=self.threads,
            processes=self.processes,
        )
        contents = [d.file("float32") if self.float32 else d.tflite for d in deployments]
        try:
            timings = time_models(contents, protocol)
        except ModelFileError as error:
            raise DeviceRefused(str(error)) from error
        return [
            _reading(timing, zlib.crc32(deployment.tflite), protocol.warmup)
            for timing, deployment in zip(timings, deployments, strict=True)
        ]

    def close(self) -> None:
        """Nothing is held."""
        self._open = False


def _reading(timing: Timing, model: int, warm_up: int) -> Reading:
    return Reading(
        ticks=tuple(1e6 * block for block in timing.block_ms),
        ticks_per_second=NANOSECONDS,
        provenance="host",
        clock=f"time.perf_counter_ns, mean of {timing.runs} runs",
        model=model,
        warm_up=warm_up,
        threads=timing.threads,
        percentile=10.0,
        firmware=interpreter_version(),
    )


class NpuDriver(Driver):
    """An Ethos-U as its compiler estimates it; nothing runs.

    Args:
        address: Configuration of the NPU, such as ``ethos-u55-128``.
    """

    def __init__(self, address: str) -> None:
        self.accelerator, self._config = address, npu_config(address)
        self._open = True

    def describe(self) -> dict[str, str]:
        """The configuration and the compiler."""
        return {"name": self.accelerator, "compiler": compiler_version()}

    def measure(self, deployment: Deployment, repeats: Repeats) -> Reading:
        """Compiles; there is no spread, since nothing is timed."""
        if not self._open:
            raise DeviceLost(f"{self.accelerator} was closed")
        try:
            report = (
                compile_model(deployment.tflite, self._config)
                if deployment.trusted
                else compile_apart(deployment.tflite, self.accelerator)
            )
        except (CompilerError, ModelFileError) as error:
            raise DeviceRefused(str(error)) from error
        if report.cpu_operators:
            raise DeviceRefused(f"{report.cpu_operators} operators do not run on it")
        return Reading(
            ticks=(float(report.cycles),),
            ticks_per_second=report.clock_mhz * 1e6,
            provenance="analytic",
            clock="cycles as the compiler estimates them",
            model=zlib.crc32(deployment.tflite),
            arena_bytes=report.sram_bytes,
            firmware=compiler_version(),
        )

    def close(self) -> None:
        """Nothing is held."""
        self._open = False
