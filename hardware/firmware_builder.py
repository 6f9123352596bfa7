"""Compiles the firmware: for emulated boards with Arm's compiler, for this machine with its own.

The result depends on the sources and the compiler's version alone, so that what is committed can
be built again and compared byte for byte.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from emnas_gym.errors import BackendMissing
from hardware.emulator import Board
from hardware.errors import DeviceError

SOURCES = Path(__file__).parent / "firmware"
PORTS = SOURCES / "ports"
FREESTANDING = PORTS / "freestanding"
MLPERF = (  # in the place of agent.c: the ports hand every byte to either
    SOURCES / "mlperf" / "protocol.c",
    SOURCES / "kernels.c",
    SOURCES / "link.c",
    SOURCES / "model.c",
)
CROSS, NATIVE = "arm-none-eabi-gcc", "gcc"
SECONDS = 120.0
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror")
CORES = {
    "Cortex-M3": ("-mcpu=cortex-m3", "-mfloat-abi=soft"),
    "Cortex-M4": ("-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"),
    "Cortex-M7": ("-mcpu=cortex-m7", "-mfloat-abi=hard", "-mfpu=fpv5-d16"),
}
BARE = (  # no library, no trace of where and when it was built
    "-ffreestanding",
    "-fno-tree-loop-distribute-patterns",  # else memset would be made of memset
    "-ffunction-sections",
    "-nostdlib",
    "-s",
    "-Wl,--gc-sections",
    "-Wl,--build-id=none",
)


def build_board(board: Board, out: Path) -> Path:
    """Compiles the firmware of an emulated board.

    Args:
        board: Which.
        out: The ELF file to write.

    Raises:
        BackendMissing: If the compiler is not installed.
        DeviceError: If it fails, with its words.
    """
    return _compile_board(board, _shared(), [], out)


def build_native(out: Path, *flags: str, optimise: str = "-O2") -> Path:
    """Compiles the firmware as a program of this machine, a device on a tty or on its own input.

    Args:
        out: The program to write.
        *flags: More flags, such as a sanitizer's.
        optimise: Level of optimisation.

    Raises:
        BackendMissing: If the compiler is not installed.
        DeviceError: If it fails, with its words.
    """
    return _compile(NATIVE, NATIVE, optimise, flags, [*_shared(), PORTS / "posix.c"], out, [])


def build_mlperf_board(board: Board, header_folder: Path, out: Path) -> Path:
    """Compiles the firmware that speaks MLPerf Tiny's protocol, for an emulated board.

    Args:
        board: Which.
        header_folder: Where ``network.h`` lies, the one network that it runs.
        out: The ELF file to write.

    Raises:
        BackendMissing: If the compiler is not installed.
        DeviceError: If it fails, with its words.
    """
    return _compile_board(board, MLPERF, ["-I", str(header_folder)], out)


def build_mlperf_native(header_folder: Path, out: Path, *flags: str, optimise: str = "-O2") -> Path:
    """Compiles that firmware as a program of this machine.

    Args:
        header_folder: Where ``network.h`` lies, the one network that it runs.
        out: The program to write.
        *flags: More flags, such as a sanitizer's.
        optimise: Level of optimisation.

    Raises:
        BackendMissing: If the compiler is not installed.
        DeviceError: If it fails, with its words.
    """
    sources = [*MLPERF, PORTS / "posix.c"]
    return _compile(NATIVE, NATIVE, optimise, ["-I", str(header_folder), *flags], sources, out, [])


def _shared() -> list[Path]:
    return sorted(SOURCES.glob("*.c"))


def _compile_board(board: Board, sources: Sequence[Path], flags: Sequence[str], out: Path) -> Path:
    sources = [*sources, FREESTANDING / "string.c", PORTS / "mps2.c"]
    flags = ["-mthumb", *CORES[board.core], *BARE, *flags, "-isystem", str(FREESTANDING)]
    flags += [f'-DBOARD="{board.machine}"', "-T", str(PORTS / "mps2.ld")]
    return _compile(CROSS, "gcc-arm-none-eabi", "-O2", flags, sources, out, ["-lgcc"])


def _compile(
    compiler: str,
    package: str,
    optimise: str,
    flags: Sequence[str],
    sources: Sequence[Path],
    out: Path,
    libraries: Sequence[str],
) -> Path:
    program = shutil.which(compiler)
    if program is None:
        raise BackendMissing(f"{compiler} is not installed: apt-get install {package}")
    command = [program, "-std=c99", optimise, *WARNINGS, *flags, *map(str, sources)]
    command += [*libraries, "-o", str(out)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DeviceError(f"{compiler}: {error}") from error
    if done.returncode:
        raise DeviceError(f"{compiler} failed:\n{done.stderr.strip()}")
    return out
