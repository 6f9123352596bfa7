"""A network as a C project: our firmware's kernels, the network as an array, and one input."""

from __future__ import annotations

import shutil
import struct
from collections.abc import Sequence
from pathlib import Path

from emnas_gym.errors import EmNASError
from hardware.deployment import Deployment
from hardware.firmware_builder import SOURCES

KERNELS = ("kernels.c", "kernels.h", "model.c", "model.h")
TEMPLATES = ("main.c", "Makefile")
ARENA_WORD = 3  # of the flat file's header
A_LINE = 12


def write_c_project(folder: Path, deployment: Deployment) -> Path:
    """Writes everything that a C compiler needs; `make run` builds it and runs it once.

    Args:
        folder: Made if it is not there.
        deployment: The network, an input and the output for it.

    Returns:
        Path of the header that holds the network.

    Raises:
        EmNASError: If the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sources = [SOURCES / name for name in KERNELS]
        sources += [SOURCES / "project" / name for name in TEMPLATES]
        for source in sources:
            shutil.copyfile(source, folder / source.name)
        header = folder / "network.h"
        header.write_text(network_header(deployment), encoding="ascii")
    except OSError as error:
        raise EmNASError(f"{folder} cannot be written: {error.strerror or error}") from error
    return header


def network_header(deployment: Deployment) -> str:
    """The C header that holds the network, an input and the output for it.

    The network that works in place is taken where the deployment has it.

    Raises:
        DeviceRefused: If the network was not made in a flat format.
    """
    flat = deployment.file("flat-small" if "flat-small" in deployment.files else "flat")
    words = struct.unpack(f"<{len(flat) // 4}I", flat)
    network = _rows([f"0x{word:08x}" for word in words], 8)
    return (
        "#ifndef NETWORK_H\n#define NETWORK_H\n\n#include <stdint.h>\n\n"
        f"#define NETWORK_ARENA_BYTES {words[ARENA_WORD]}\n"
        "/* An output means NETWORK_OUTPUT_SCALE * (its number - NETWORK_OUTPUT_ZERO). */\n"
        f"#define NETWORK_OUTPUT_SCALE {deployment.output.scale!r}\n"
        f"#define NETWORK_OUTPUT_ZERO ({deployment.output.zero_point})\n\n"
        "/* The network as model.h describes it; words of a little-endian machine. */\n"
        f"static const uint32_t network[] = {{\n{network}}};\n\n"
        f"static const int8_t network_input[] = {{\n{_bytes(deployment.image)}}};\n\n"
        f"static const int8_t network_output[] = {{\n{_bytes(deployment.expected)}}};\n\n#endif\n"
    )


def _bytes(data: bytes) -> str:
    return _rows([str(value) for value in struct.unpack(f"{len(data)}b", data)], A_LINE)


def _rows(values: Sequence[str], a_line: int) -> str:
    rows = (values[i : i + a_line] for i in range(0, len(values), a_line))
    return "".join("  " + " ".join(f"{value}," for value in row) + "\n" for row in rows)
