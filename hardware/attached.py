"""What is attached to this machine's serial ports, what it may be, and what it answers."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from emnas_gym.errors import EmNASError
from hardware.drivers.spec import DeviceSpec
from hardware.errors import DeviceError
from hardware.extras import load
from hardware.link.port import Port

# Vendor and product numbers as the makers' documentation and the Linux USB ID list give them.
KNOWN = {
    (0x1D6B, 0x0102): ("JeVois camera", "jevois"),
    (0x0403, 0x6010): ("FT2232, as on Maix Bit", "maixpy"),
    (0x1A86, 0x7523): ("CH340, as on Maix boards", "maixpy"),
    (0x0483, 0x374B): ("ST-LINK/V2-1 of a NUCLEO", "framed"),
    (0x0483, 0x374E): ("STLINK-V3 of a NUCLEO", "framed"),
    (0x1366, 0x1015): ("J-Link of a Nordic kit", "framed"),
    (0x1366, 0x1055): ("J-Link of a Nordic kit", "framed"),
    (0x2E8A, 0x0005): ("RP2040 with MicroPython", "maixpy"),
    (0x2E8A, 0x000A): ("RP2040", "framed"),
    (0x303A, 0x1001): ("ESP32-S3", "framed"),
    (0x0D28, 0x0204): ("Arm DAPLink", "framed"),
}
ASKED: tuple[tuple[str, dict[str, Any]], ...] = (  # in this order: the least intrusive first
    ("framed", {"seconds": 1.5}),
    ("mlperf_tiny", {"seconds": 1.5}),
    ("jevois", {"answer_seconds": 1.5}),
    ("maixpy", {"prompt": 3.0}),
)


@dataclass(frozen=True)
class Attached:
    """One serial port.

    Attributes:
        port: Its path.
        what: What its numbers say that it is.
        usb: Vendor and product, such as ``"0483:374b"``; empty if it is no USB device.
        driver: The driver to try first; empty if nothing is known of it.
        state: ``"free"``, or why it cannot be opened and what to do.
        answers: What answered, and by which driver; empty if nobody asked.
    """

    port: str
    what: str
    usb: str
    driver: str
    state: str
    answers: str = ""


def attached(ask: bool = False) -> list[Attached]:
    """The serial ports of this machine.

    Args:
        ask: Also speak to each free port, with every driver until one understands the answer.
            What runs there may be disturbed: a MicroPython program is interrupted.

    Raises:
        BackendMissing: If pyserial is not installed.
    """
    ports = load("serial.tools.list_ports").comports()
    return [_look_at(port, ask) for port in sorted(ports, key=lambda port: str(port.device))]


def _look_at(port: object, ask: bool) -> Attached:
    device = str(getattr(port, "device", ""))
    vendor, product = getattr(port, "vid", None), getattr(port, "pid", None)
    numbers = (vendor, product) if vendor is not None and product is not None else None
    usb = f"{vendor:04x}:{product:04x}" if numbers else ""
    what, driver = KNOWN.get(numbers, ("", "")) if numbers else ("", "")
    described = str(getattr(port, "description", "") or "").removeprefix("n/a")
    state = _state(device)
    answers = _ask(device) if ask and state == "free" else ""
    return Attached(device, what or described.strip(), usb, driver, state, answers)


def _state(device: str) -> str:
    if os.path.exists(device) and not os.access(device, os.R_OK | os.W_OK):
        owner = "dialout" if stat.S_ISCHR(os.stat(device).st_mode) else "its owner"
        return f"no permission: your user must be in the group {owner}"
    try:
        Port(device).close()
    except DeviceError as error:
        return str(error)
    return "free"


def _ask(device: str) -> str:
    """What the first driver that is understood says of the device."""
    for name, options in ASKED:
        with suppress(EmNASError), DeviceSpec(name, device, options).open() as driver:
            about = driver.describe()
            return f"{name}: " + ", ".join(f"{key} {value}" for key, value in about.items())
    return "nothing that a driver understands"
