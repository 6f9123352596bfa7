"""Makes this machine a device: a Raspberry Pi on its serial port, or any board with a network.

Runs from the repository as ``python -m hardware serve``, and from the one file that
``python -m hardware serve --bundle agent.pyz`` writes; there it needs Python 3.9, numpy, an
interpreter, and for a serial port pyserial.
"""

from __future__ import annotations

import argparse
import os
import pkgutil
import platform
import socket
import sys
import zlib
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from hardware.backend import Backend, find_backend
from hardware.linux.agent import Agent
from hardware.linux.runner import Runner

FILES = (  # all that the one file holds, and all that the checksum covers
    "backend.py",
    "link/framing.py",
    "link/messages.py",
    "linux/agent.py",
    "linux/runner.py",
    "linux/serve.py",
)
BLOCK = 4096
LOCAL = "127.0.0.1"

Take = Callable[[bytes], None]
Serve = Callable[[Callable[[Take], Agent]], None]


def checksum() -> int:
    """CRC-32 of the program, the same from the repository and from the one file."""
    total = 0
    for name in FILES:
        total = zlib.crc32(pkgutil.get_data("hardware", name) or b"", total)
    return total


def board_name(backend: Backend) -> str:
    """What the board calls itself: machine and interpreter."""
    try:
        number = version(backend.name)
    except PackageNotFoundError:
        number = "?"
    return f"{platform.node()} {platform.machine()} {backend.name} {number}"[:64]


def make_agent(threads: int) -> Callable[[Take], Agent]:
    """A maker of the agent, given where its answers go.

    Raises:
        ImportError: If there is no interpreter.
    """
    backend, firmware = find_backend(), checksum()
    runner, name = Runner(backend, threads), board_name(backend)
    return lambda send: Agent(runner, send, name, firmware)


def serve_port(port: str, baud: int) -> Serve:
    """Serves on a serial port until the line breaks."""

    def serve(make: Callable[[Take], Agent]) -> None:
        serial: Any = import_module("serial")
        with serial.Serial(port, baud, exclusive=True) as line:
            agent = make(line.write)
            while True:
                agent.take(line.read(max(1, min(line.in_waiting, BLOCK))))

    return serve


def serve_socket(address: str) -> Serve:
    """Serves on a network port, one host at a time; ``socket://board:port`` reaches it.

    Raises:
        ValueError: If the address is not ``port`` or ``host:port``.
    """
    host, _, number = address.rpartition(":")
    if not number.isdigit():
        raise ValueError(f"{address!r} is neither a port nor host:port")

    def serve(make: Callable[[Take], Agent]) -> None:
        with socket.create_server((host or LOCAL, int(number))) as server:
            print(f"listening on {host or LOCAL}:{server.getsockname()[1]}", flush=True)
            while True:
                line, _ = server.accept()
                with line:
                    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    _answer_all(make(line.sendall), lambda line=line: line.recv(BLOCK))  # type: ignore[misc]

    return serve


def serve_stdio() -> Serve:
    """Serves on standard input and output until the input ends."""

    def serve(make: Callable[[Take], Agent]) -> None:
        out = os.dup(1)
        os.dup2(2, 1)  # what a library prints must not get between the frames

        def send(data: bytes) -> None:
            while data:
                data = data[os.write(out, data) :]

        _answer_all(make(send), lambda: os.read(0, BLOCK))

    return serve


def _answer_all(agent: Agent, read: Callable[[], bytes]) -> None:
    """Answers until the other end is gone; the next one may come."""
    try:
        while data := read():
            agent.take(data)
    except ConnectionError:
        pass


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of the one file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--port", help="serial port, e.g. /dev/ttyGS0")
    where.add_argument("--listen", help="network port, or host:port; 0.0.0.0:5555 is everybody")
    where.add_argument("--stdio", action="store_true", help="standard input and output")
    parser.add_argument("--baud", type=int, default=115_200, help="of a serial port")
    parser.add_argument("--threads", type=int, default=1, help="of the interpreter")
    given = parser.parse_args(arguments)
    try:
        if given.stdio:
            serve = serve_stdio()
        else:
            serve = serve_port(given.port, given.baud) if given.port else serve_socket(given.listen)
        serve(make_agent(given.threads))
    except KeyboardInterrupt:
        return 130
    except (OSError, ImportError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0
