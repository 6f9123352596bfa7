"""The door of `hardware`: devices, doctor, firmware and serve here, the rest beside it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from emnas_gym.devices import Device, devices
from emnas_gym.door import print_json
from emnas_gym.errors import BackendMissing
from hardware import measure_command, model_commands, split_command
from hardware.application import Json, app, console, table_of
from hardware.attached import Attached, attached
from hardware.bundle import write_bundle
from hardware.doctor import examine
from hardware.emulator import BOARDS, PREBUILT
from hardware.firmware_builder import build_board
from hardware.linux.serve import main as serve_main
from hardware.npu_configs import CONFIGS, npu_table

__all__ = ["app", "measure_command", "model_commands", "split_command"]


@app.command("devices")
def devices_command(
    npu: Annotated[
        bool, typer.Option("--npu", help="Every configuration of an NPU instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Lists the boards: memories, latency line, and where the figures come from."""
    if npu:
        _show_npus(as_json)
        return
    if as_json:
        print_json({"devices": [asdict(d) for d in devices().values()]})
        return
    table = table_of("device", "core", "MHz", "flash/RAM", "ms + /MMAC", "±", "mW")
    table.padding = (0, 0)  # so that it fits 80 columns
    for device in devices().values():
        power = "" if device.active_power_mw is None else f"{device.active_power_mw:g}"
        error = "" if device.latency_error is None else f"{device.latency_error:.0%}"
        memories = "/".join(filter(None, map(_bytes, (device.flash_bytes, device.ram_bytes))))
        clock = f"{device.clock_mhz:g}"
        table.add_row(
            device.name, device.core, clock, memories, _latency_line(device), error, power
        )
    console.print(table)
    for device in devices().values():
        console.print(escape(f"{device.name}: {_source(device)}"), style="dim", soft_wrap=True)


@app.command("doctor")
def doctor_command(
    ask: Annotated[
        bool,
        typer.Option(
            "--ask",
            help="Speak to every attached port; a program that runs there may be disturbed.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Shows what is installed, what is attached, what answers, and how to get what is missing."""
    findings, ports = examine(), _ports(ask)
    if as_json:
        facts: dict[str, object] = {"found": [asdict(f) for f in findings]}
        facts["accelerators"] = sorted(CONFIGS)
        print_json(facts | {"attached": [asdict(port) for port in ports]})
        return
    table = table_of("what", "version", "works", "needed for", "what to do")
    for finding in findings:
        works = {True: "yes", False: "NO", None: ""}[finding.works]
        good = finding.version and finding.works is not False
        advice = "" if good else finding.advice
        version = finding.version or "missing"
        table.add_row(finding.name, version, works, finding.purpose, escape(advice))
    console.print(table)
    if not ports:
        console.print("no serial port is attached")
        return
    table = table_of("port", "what it may be", "usb", "driver", "state", "answers")
    for port in ports:
        cells = (port.port, port.what, port.usb, port.driver, port.state, port.answers)
        table.add_row(*(escape(cell) for cell in cells))
    console.print(table)
    if not ask:
        console.print("`doctor --ask` speaks to them, one driver after the other", style="dim")


def _ports(ask: bool) -> list[Attached]:
    """The serial ports; none where pyserial, which is among the findings, is missing."""
    try:
        return attached(ask)
    except BackendMissing:
        return []


@app.command("firmware")
def firmware_command(
    out: Annotated[Path, typer.Option(help="Folder for the ELF files.")] = PREBUILT,
) -> None:
    """Compiles our firmware for the emulated boards; the same sources make the same bytes."""
    out.mkdir(parents=True, exist_ok=True)
    for board in BOARDS.values():
        console.print(str(build_board(board, out / f"{board.machine}.elf")), soft_wrap=True)


@app.command("serve")
def serve_command(
    port: Annotated[str, typer.Option(help="Serial port, e.g. /dev/ttyGS0.")] = "",
    listen: Annotated[
        str, typer.Option(help="Network port, or host:port; one host at a time.")
    ] = "",
    bundle: Annotated[
        Path | None, typer.Option(help="Write the agent as one file for a board, e.g. agent.pyz.")
    ] = None,
    baud: Annotated[int, typer.Option(help="Symbols a second of the serial port.")] = 115_200,
    threads: Annotated[int, typer.Option(min=1, help="Threads of the interpreter.")] = 1,
) -> None:
    """Makes a Linux machine a device: it takes .tflite files over a line, runs and times them.

    On the board, which needs numpy and tflite-runtime or ai-edge-litert alone:
    python -m hardware serve --bundle agent.pyz, copied there, and python3 agent.pyz --listen 5555

    On the desk: python -m hardware measure --on framed:socket://board:5555 --tokens 31,75,100,382

    A network port has no password: whoever reaches it can run models there.
    """
    if sum(map(bool, (port, listen, bundle))) != 1:
        raise typer.BadParameter("give either --port or --listen, or --bundle")
    if bundle is not None:
        console.print(str(write_bundle(bundle)), soft_wrap=True)
        return
    where = ["--port", port, "--baud", str(baud)] if port else ["--listen", listen]
    raise typer.Exit(serve_main([*where, "--threads", str(threads)]))


def _show_npus(as_json: bool) -> None:
    """The legal configurations, by names that ``measure --on`` takes."""
    rows = npu_table()
    if as_json:
        print_json({"configurations": rows})
        return
    table = table_of("configuration", "also called")
    for row in rows:
        table.add_row(str(row["name"]), str(row["short"]))
    console.print(table)


def _source(device: Device) -> str:
    """Where the figures come from, and what carrying a time to another clock is worth."""
    if device.transfer_error is None:
        return device.source
    return (
        f"{device.source}; between boards of this core cycles differ by {device.transfer_error:.0%}"
    )


def _bytes(size: int | None) -> str:
    if size is None:
        return ""
    kib = size / 1024
    return (
        f"{kib:g}K" if kib < 1024 else f"{kib / 1024:g}M" if kib < 1 << 20 else f"{kib / 2**20:g}G"
    )


def _latency_line(device: Device) -> str:
    if device.latency_b_ms_per_mac is None:
        return ""
    return f"{device.latency_a_ms or 0.0:.3g} + {device.latency_b_ms_per_mac * 1e6:.3g}"
