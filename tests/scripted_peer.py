"""The far end of a line that knows which bytes must come, and what it answers to them."""

from __future__ import annotations

import os
import select
import threading
import tty
from collections.abc import Sequence
from typing import Self


class ScriptedPeer:
    """A tty at ``path``; a thread plays the device, and stops at the first byte that is wrong.

    Args:
        dialogue: Pairs of the bytes that must come next and the bytes that answer them; an empty
            first half speaks unasked.

    Attributes:
        path: Where the host opens its port.
        heard: All that came.
    """

    def __init__(self, dialogue: Sequence[tuple[bytes, bytes]]) -> None:
        self._near, self._far = os.openpty()
        tty.setraw(self._near)
        tty.setraw(self._far)
        self.path = os.ttyname(self._far)
        self.heard = bytearray()
        self.expected = b"".join(asked for asked, _ in dialogue)
        self._dialogue = dialogue
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._play, daemon=True)
        self._thread.start()

    def _play(self) -> None:
        due = 0
        for asked, answer in self._dialogue:
            due += len(asked)
            while len(self.heard) < due and self.expected.startswith(bytes(self.heard)):
                if not self._hear():
                    return
            if not self.expected.startswith(bytes(self.heard)):
                return
            os.write(self._near, answer)
        while self._hear():  # what comes after the end is wrong, and is kept for the test
            pass

    def _hear(self) -> bool:
        while not self._stop.is_set():
            ready, _, _ = select.select([self._near], [], [], 0.02)
            if ready:
                self.heard += os.read(self._near, 4096)
                return True
        return False

    def close(self) -> None:
        """Ends the thread and the line."""
        self._stop.set()
        self._thread.join()
        os.close(self._near)
        os.close(self._far)

    def __enter__(self) -> Self:
        """The peer itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it."""
        self.close()
