"""The Ethos-U compiler Vela, called in process: cycles and memories of an int8 model.

The call is the one that Vela's own command line makes (ethos-u-vela 5.2). Its cycles are Arm's
model of the NPU, not silicon. A damaged file crashes the compiler, so that only models which we
wrote are compiled in process; all others go through `compile_apart`.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from hardware.apart import run_apart
from hardware.captured import captured
from hardware.channel_steps import without_channel_steps
from hardware.errors import CompilerError, ModelFileError
from hardware.extras import load
from hardware.model_file import check_content
from hardware.npu_configs import SYSTEMS, NpuConfig, illegal, npu_config


@dataclass(frozen=True)
class NpuReport:
    """What the compiler says of one model.

    Attributes:
        cycles: NPU cycles of one inference, memory waits included.
        macs: Multiply-accumulates as the compiler counts them.
        cpu_operators: Operators that the NPU cannot run.
        sram_bytes: Peak use of the SRAM.
        flash_bytes: Constants and commands, as the NPU reads them.
        clock_mhz: Clock of the system configuration.
    """

    cycles: int
    macs: int
    cpu_operators: int
    sram_bytes: int
    flash_bytes: int
    clock_mhz: float

    @property
    def latency_ms(self) -> float:
        """Cycles divided by the clock."""
        return self.cycles / (self.clock_mhz * 1e3)


def compile_model(content: bytes, config: NpuConfig) -> NpuReport:
    """Compiles a model that `hardware.export` wrote.

    Args:
        content: An int8 .tflite file of ours.
        config: The NPU.

    Raises:
        CompilerError: If the compiler refuses the configuration or the model.
        BackendMissing: If ethos-u-vela is not installed.
    """
    clock_mhz, compiled = _compile(content, config)
    report = compiled.perf_report
    memories = report.memories
    return NpuReport(
        cycles=int(report.totalCycles),
        macs=int(report.macCount),
        cpu_operators=int(report.cpuOps),
        sram_bytes=int(memories["Sram"].peakUsage) if "Sram" in memories else 0,
        flash_bytes=int(report.readOnlyPeakUsage),
        clock_mhz=clock_mhz,
    )


def optimised_model(content: bytes, config: NpuConfig) -> bytes:
    """The .tflite file that runs on the NPU: its commands and constants as one operator.

    Args:
        content: An int8 .tflite file of ours.
        config: The NPU.

    Raises:
        CompilerError: If the compiler refuses the configuration or the model.
        BackendMissing: If ethos-u-vela is not installed.
    """
    return bytes(_compile(content, config)[1].model)


def _compile(content: bytes, config: NpuConfig) -> tuple[float, Any]:
    """Clock of the configuration in MHz, and what the compiler returns."""
    check_content(content)
    content = without_channel_steps(content)
    regor: Any = load("ethosu.regor")
    clock_mhz, text = _system(config)
    with captured(1) as printed:  # it warns of what the NPU cannot run, on standard output
        try:
            compiled = regor.compile(
                config.architecture, content, "TFLITE", text, options="", verbose=False
            )
            report = compiled.perf_report
        except (RuntimeError, ValueError) as error:
            raise CompilerError(f"Vela refuses the model for {config}: {error}") from error
    if not report.npuOps + report.cpuOps:
        raise CompilerError(f"Vela found nothing to compile: {''.join(printed).strip()}")
    return clock_mhz, compiled


def compile_apart(content: bytes, accelerator: str) -> NpuReport:
    """Compiles a model of unknown origin in a process of its own.

    Raises:
        UnknownName: If there is no such accelerator.
        CompilerError: If the configuration is not allowed.
        ModelFileError: If the compiler refuses the model, or crashes on it.
    """
    npu_config(accelerator)
    check_content(content)
    answer = run_apart("hardware.npu_compiler", content, [accelerator])
    return NpuReport(**json.loads(answer))


@lru_cache
def _system(config: NpuConfig) -> tuple[float, str]:
    """Clock in MHz, and the text that selects a configuration of Vela's configuration file."""
    folder = Path(str(load("ethosu.regor").__file__)).parent
    ini = (folder / "config_files" / "Arm" / "vela.ini").read_text(encoding="utf-8")
    section = re.search(rf"\[System_Config\.{config.system_config}\]([^\[]*)", ini)
    clock = re.search(r"core_clock=(\S+)", section.group(1)) if section else None
    if clock is None or f"[Memory_Mode.{config.memory_mode}]" not in ini:
        raise CompilerError(f"Vela's configuration file knows no {config}")
    if config.architecture in SYSTEMS:  # of others the compiler itself says that it has none
        problem = illegal(config.architecture, config.system_config, config.memory_mode)
        if problem:
            raise CompilerError(f"{config} is not allowed: {problem}")
    chosen = (
        f"[architecture]\nmacs={config.macs}\ncores={config.cores}\n"
        f"[vela]\nsystem_config_name={config.system_config}\n"
        f"memory_mode_name={config.memory_mode}\n"
    )
    return float(clock.group(1)) / 1e6, chosen + ini


def _main() -> int:
    """Compiles the model on standard input for the accelerator that is named."""
    try:
        report = compile_model(sys.stdin.buffer.read(), npu_config(sys.argv[1]))
    except (CompilerError, ModelFileError) as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(asdict(report)))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
