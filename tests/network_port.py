"""A serial port served over a network by RFC 2217, with pyserial's own half of the protocol."""

from __future__ import annotations

import select
import socket
import threading
from typing import Any, Self

import pytest

serial = pytest.importorskip("serial", reason="needs the package pyserial")
rfc2217 = pytest.importorskip("serial.rfc2217", reason="needs the package pyserial")


class _Modemless:
    """A pty as a serial port: it has no modem lines, which RFC 2217 asks for."""

    def __init__(self, path: str) -> None:
        self._line: Any = serial.Serial(path, timeout=0)

    def __getattr__(self, name: str) -> Any:
        return False if name in ("cts", "dsr", "ri", "cd") else getattr(self._line, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        elif name not in ("dtr", "rts"):
            setattr(self._line, name, value)


class NetworkPort:
    """Serves one tty to one client; a context manager that ends it.

    Args:
        path: The tty.

    Attributes:
        number: Of the network port.
    """

    def __init__(self, path: str) -> None:
        self._line = _Modemless(path)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.number = self._server.getsockname()[1]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        self._server.settimeout(20)
        try:
            client, _ = self._server.accept()
        except OSError:
            return
        with client:
            writer = threading.Lock()

            class Sender:
                def write(self, data: bytes) -> None:
                    with writer:
                        client.sendall(data)

            manager = rfc2217.PortManager(self._line, Sender())
            while not self._stop.is_set():
                ready, _, _ = select.select([client, self._line.fileno()], [], [], 0.02)
                if client in ready:
                    data = client.recv(1024)
                    if not data:
                        return
                    self._line.write(b"".join(manager.filter(data)))
                if self._line.fileno() in ready:
                    data = self._line.read(1024)
                    with writer:
                        client.sendall(b"".join(manager.escape(data)))

    def close(self) -> None:
        """Ends it; a second call does nothing."""
        self._stop.set()
        self._thread.join()
        self._server.close()
        self._line.close()

    def __enter__(self) -> Self:
        """The server itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it."""
        self.close()
