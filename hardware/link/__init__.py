"""The framed link: bytes that arrive whole, in order, once, or not at all with the right error."""

from hardware.link.framing import Frame, Unpacker, pack
from hardware.link.port import Deadline, Port
from hardware.link.session import Session

__all__ = ["Deadline", "Frame", "Port", "Session", "Unpacker", "pack"]
