"""A micro:bit with MicroPython 1.9.2 of 2017, on QEMU: a real raw REPL of an old fork.

It has no raw-paste mode, no ``ubinascii``, no ``os.rename`` and a heap of 9.5 kB, so that what
works there works on MaixPy too, whose core is as old. It has no KPU; `KPU` below stands for one.
"""

from __future__ import annotations

import fcntl
import struct
import termios
import time

from faulty_line import Faults, FaultyLine
from outside_programs import needs_file, needs_program

FIRMWARE = "/usr/share/firmware-microbit-micropython/firmware.hex"
MACHINE = ["qemu-system-arm", "-M", "microbit", "-nographic", "-monitor", "none"]
MACHINE += ["-icount", "shift=3"]  # without, its clock sometimes goes backwards
MACHINE += ["-serial", "stdio", "-device", f"loader,file={FIRMWARE}"]
BLOCK = 16  # bytes
PAUSE = 0.0005  # seconds

# The KPU's functions, errors and limit of five networks; its work is a loop. What it should do
# stands in the kmodel behind the version, 8 bytes.
KPU = b"""\
import gc
n=0
def load(p):
 global n
 with open(p,'rb') as f:
  c=str(f.read()[8:],'ascii')
 if n>4:
  raise ValueError('[MAIXPY]kpu: load error:2009, ERR_MODELS_FULL: only support 5 models')
 if 'full' in c:
  raise ValueError('[MAIXPY]kpu: load error:2006, ERR_NO_MEM: memory not enough')
 n+=1
 return c
def forward(t,x):
 if 'check' in t:
  raise ValueError('[MAIXPY]kpu: check img format err!\\r\\n')
 while 'hang' in t:
  pass
 while 'flood' in t:
  print(t*8)
 for v in x:
  for i in range(200 if 'slow' in t else 20):
   v=v+i
 y=[.25]*4
 if 'class' in t:
  y[int(t[-1])]=1.5
 return y
def deinit(t):
 global n
 n-=1
"""
# A helper module with the two functions of 2021.
TOOLS = b"""\
import utime
def measure_latency(p):
 global m
 m='none yet'
 if p[0]=='t':
  return
 if p[:4]=='full':
  raise ValueError('[MAIXPY]kpu: load error:2006, ERR_NO_MEM: memory not enough')
 while p[:4]=='hang':
  pass
 while p[:5]=='flood':
  print(p*8)
 m=0
 for i in range(20):
  a=utime.ticks_us()
  for j in range(500):
   pass
  m+=utime.ticks_diff(utime.ticks_us(),a)/20000
def query_latency():
 print(m)
"""


def needs_microbit() -> None:
    """Skips the test, naming the packages, unless the micro:bit can be emulated."""
    needs_program("qemu-system-arm")
    needs_file(FIRMWARE)


class Microbit(FaultyLine):
    """A running board behind a line, a context manager that ends both.

    The emulated UART takes bytes as fast as they are there, faster than MicroPython empties its
    buffer of 64; no wire does. So the line hands on few, and waits until the UART has them.
    """

    def __init__(self, faults: Faults | None = None) -> None:
        needs_microbit()
        super().__init__(MACHINE, faults)

    def _pass_on(self, target: int, data: bytes) -> None:
        assert self.device.stdin is not None
        if target != self.device.stdin.fileno():
            super()._pass_on(target, data)
            return
        for start in range(0, len(data), BLOCK):
            super()._pass_on(target, data[start : start + BLOCK])
            while _waiting(target) and not self._stop.is_set():
                time.sleep(PAUSE)
            time.sleep(PAUSE)

    def kill(self) -> None:
        """Ends the board at once, and its end of the line with it."""
        self.device.kill()
        self.device.wait()
        self.unplug()


def _waiting(pipe: int) -> int:
    """Bytes in a pipe that its reader has not taken."""
    (count,) = struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))
    return int(count)
