"""The dialogue by which EmNAS measured its Sipeed boards in 2021, over the friendly REPL.

A helper module ``tools`` lies on the board: ``measure_latency(name)`` loads a kmodel and runs it
20 times, ``query_latency()`` prints the mean in milliseconds. The lines and their order are those
of 2021, the import twice included. What is ours: every line is waited for by its own echo and the
prompt after it, where the host of 2021 slept and took any prompt for an answer; the result is the
only number between them, where it took the third line from the end.
"""

from __future__ import annotations

import math

from hardware.drivers.micropython import INTERRUPT, LIMIT, printable
from hardware.errors import DeviceRefused, DeviceTimeout, ProtocolError
from hardware.link.port import Deadline, Port

PROMPT = b"\r\n>>> "
SECONDS = 5.0  # for the prompt and for the import, as in 2021
CLOCK_2021 = "utime.ticks_us, as tools.py on the board reports it"


def latency_ms_of_2021(port: Port, name: str, seconds: float) -> float:
    """Asks the board's helper module for the latency of a kmodel.

    Args:
        port: The line, at the friendly REPL or at whatever Ctrl-C ends.
        name: Of the kmodel, as the helper module wants it.
        seconds: Deadline of the measurement; 120 in 2021, 30 later.

    Returns:
        Mean milliseconds of its 20 runs.

    Raises:
        DeviceRefused: If the helper module raised, in its words.
        DeviceTimeout: If a prompt does not come; the board was interrupted.
        ProtocolError: If what comes is no latency.
        DeviceLost: If the connection broke.
    """
    port.drain()  # the banner, and what was asked for before
    port.write(INTERRUPT, Deadline(SECONDS))
    _read(port, b"", "Ctrl-C", SECONDS)
    port.drain()
    for line, most in (
        ("import tools", SECONDS),
        ("import tools", SECONDS),
        (f'tools.measure_latency("{name}")', seconds),
    ):
        _ask(port, line, most)
    answer = _ask(port, "tools.query_latency()", SECONDS)
    try:
        latency = float(answer)
    except ValueError:
        latency = math.nan
    if not 0 < latency < 1e6:
        raise ProtocolError(f"the board says {printable(answer)!r}, which is no latency")
    return latency


def _ask(port: Port, line: str, seconds: float) -> str:
    """Sends a line; returns what came between its echo and the next prompt."""
    port.write(line.encode() + b"\r", Deadline(SECONDS))
    answer = _read(port, line.encode(), line, seconds).decode(errors="replace").strip()
    if "Traceback (most recent call last)" in answer:
        raise DeviceRefused(printable(answer.splitlines()[-1]))
    return answer


def _read(port: Port, echo: bytes, asked: str, seconds: float) -> bytes:
    deadline, seen = Deadline(seconds), b""
    while True:
        _, found, after = seen.partition(echo) if echo else (b"", b"echo", seen)
        if found and PROMPT in after:
            return after.partition(PROMPT)[0]
        if len(seen) > LIMIT:
            raise ProtocolError(f"the board floods the line after {asked!r}")
        data = b"" if deadline.over else port.read(deadline)
        if not data:
            port.write(INTERRUPT * 2, Deadline(SECONDS))
            raise DeviceTimeout(f"no prompt in {seconds:g} s after {asked!r}: reset the board")
        seen += data
