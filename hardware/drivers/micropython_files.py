"""Puts files on a board that runs MicroPython, and makes sure that they arrived.

Every upload is checked by a CRC-32 that the board computes on what lies there. Where the board has
``ubinascii`` the bytes travel as base64, else as literals of Python; where it has ``os.rename`` a
file has its name only once it is whole.
"""

from __future__ import annotations

import base64
import re
import zlib

from hardware.drivers.micropython import RawRepl
from hardware.errors import DeviceError, DeviceRefused, DeviceTimeout, ProtocolError

PATH = re.compile(r"/?[A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*")
LONGEST_PATH = 100
AS_BASE64, AS_LITERAL = 768, 96  # bytes a line of code: about 1,100 and at most 400 characters
FIRST_FLASH_PAGE = 10.0  # seconds to open a file: some file systems clean up first
REASONS = ("OSError", "MemoryError", "ImportError")  # what a board means when it refuses a file

# Names that everything below uses; CRC-32 as in zlib, the slow way where the board has none.
PRELUDE = """\
import gc
try:
 from ubinascii import a2b_base64 as _d
except ImportError:
 _d=None
try:
 from ubinascii import crc32 as _k
except ImportError:
 def _k(b,c=0):
  c^=0xffffffff
  for x in b:
   c^=x
   for _ in range(8):
    c=c>>1^0xedb88320 if c&1 else c>>1
  return c^0xffffffff
def _c(p):
 c=0
 try:
  f=open(p,'rb')
 except OSError:
  return -1
 while 1:
  b=f.read(512)
  if not b:
   break
  c=_k(b,c)
 f.close()
 return c&0xffffffff
print('EMNAS',1 if _d else 0)
"""
OPEN = """\
try:
 _f.close()
except:
 pass
_f=open('{part}','wb')
"""
RENAME = """\
import os
try:
 os.remove('{path}')
except OSError:
 pass
os.rename('{part}','{path}')
"""
REMOVE = """\
try:
 _f.close()
except:
 pass
import os
try:
 os.remove('{part}')
except OSError:
 pass
"""


class BoardFiles:
    """The files of a board.

    Args:
        repl: Its raw REPL.

    Raises:
        DeviceError: If it does not answer as expected.
    """

    def __init__(self, repl: RawRepl) -> None:
        self._repl = repl
        self._prepare()
        renames = repl.run("import os\nprint('EMNAS',1 if hasattr(os,'rename') else 0)")
        self._renames = bool(number(renames))

    def checksum(self, path: str) -> int | None:
        """CRC-32 of a file as the board reads it, None if there is none.

        Raises:
            DeviceError: If the board fails, or the path is none.
        """
        return self._checksum(checked(path), 60.0)

    def put(self, path: str, data: bytes) -> bool:
        """Makes a file hold these bytes; what lies there already is not sent again.

        Args:
            path: Letters, digits, ``_ . - /`` only.
            data: At most what its file system takes.

        Returns:
            Whether they were sent.

        Raises:
            DeviceRefused: If the board cannot keep them, in its own words.
            ProtocolError: If what lies there is something else, after a second try too.
            DeviceError: If the board fails, or the path is none.
        """
        path, crc, seconds = checked(path), zlib.crc32(data), 10 + len(data) / 500
        try:
            if self._checksum(path, seconds) == crc:
                return False
        except (ProtocolError, DeviceTimeout, DeviceRefused):
            pass  # a bad line, or a board that was reset: it is sent
        try:
            self._send(path, data, crc, seconds)
        except (ProtocolError, DeviceTimeout):
            self._prepare()
            self._send(path, data, crc, seconds)
        return True

    def literal(self, data: bytes) -> str:
        """An expression whose value on the board is these bytes."""
        if self._base64:
            return f"_d(b'{base64.b64encode(data).decode()}')"
        return repr(data)

    @property
    def chunk(self) -> int:
        """How many bytes a line of code should hold."""
        return AS_BASE64 if self._base64 else AS_LITERAL

    def _prepare(self) -> None:
        self._base64 = bool(number(self._repl.run(PRELUDE)))

    def _checksum(self, path: str, seconds: float) -> int | None:
        crc = number(self._repl.run(f"print('EMNAS',_c('{path}'))", seconds))
        return None if crc < 0 else crc

    def _send(self, path: str, data: bytes, crc: int, seconds: float) -> None:
        part = path + ".part" if self._renames else path
        try:
            self._repl.run(OPEN.format(part=part), FIRST_FLASH_PAGE)
            for start in range(0, len(data), self.chunk):
                self._repl.run(f"_f.write({self.literal(data[start : start + self.chunk])})\n")
            self._repl.run("_f.close()\ngc.collect()")
            arrived = self._checksum(part, seconds)
            if arrived != crc:
                raise ProtocolError(f"{path}: CRC-32 {arrived} on the board, {crc} sent")
            if self._renames:
                self._repl.run(RENAME.format(path=path, part=part), FIRST_FLASH_PAGE)
        except (DeviceRefused, ProtocolError, DeviceTimeout) as error:
            self._remove(part)
            if isinstance(error, DeviceRefused) and not str(error).startswith(REASONS):
                raise ProtocolError(f"{path}: the upload was garbled: {error}") from error
            raise

    def _remove(self, part: str) -> None:
        """Leaves no broken file behind, if the board lets us."""
        try:
            self._repl.run(REMOVE.format(part=part))
        except (DeviceRefused, ProtocolError, DeviceTimeout):
            pass  # its checksum will tell that it is broken


def checked(path: str) -> str:
    """A path that cannot end the string in which the board reads it.

    Raises:
        DeviceError: If it holds anything but letters, digits and ``_ . - /``, or goes upwards.
    """
    if len(path) > LONGEST_PATH or not PATH.fullmatch(path):
        raise DeviceError(f"{path!r} is no path for a board: letters, digits and _ . - / only")
    return path


def number(output: str) -> int:
    """The whole number that a script of ours printed behind its marker.

    Raises:
        ProtocolError: If there is none.
    """
    found = re.findall(r"^EMNAS (-?\d{1,10})\r?$", output, re.MULTILINE)
    if len(found) != 1:
        raise ProtocolError(f"the board should have printed a number, not {output[:60]!r}")
    return int(found[0])
