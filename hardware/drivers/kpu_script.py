"""What runs on a K210 to measure a network, and what is made of its answers.

Facts of MaixPy's ``KPU`` module: its source, sipeed/MaixPy-v1, ``Maix_kpu.c``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hardware.drivers.micropython import printable
from hardware.drivers.micropython_files import BoardFiles
from hardware.errors import ProtocolError
from hardware.program import Array

LEVELS = 256  # of an input: the KPU takes 8 bits
FLOATS = 16  # a line of code
NUMBER = r"-?\d{1,9}"
MEMORY = re.compile(rf"^EMNAS memory (\w+) ({NUMBER})\r?$|^#{{3}}(.{{1,80}})$", re.MULTILINE)
TICKS = re.compile(rf"^EMNAS ticks \[({NUMBER}(?:, {NUMBER})*)\]\r?$", re.MULTILINE)
OUTPUT = re.compile(r"^EMNAS output \[([-+.\w]{1,24}(?:, [-+.\w]{1,24})*)\]\r?$", re.MULTILINE)

# `deinit` whatever happens: once the KPU holds five networks it loads no more (error 2009).
SCRIPT = """\
import gc,utime,KPU
def _r(k):
 gc.collect()
 print('EMNAS memory',k,gc.mem_free())
 if hasattr(KPU,'memtest'):
  KPU.memtest()
def _m():
 _r('before')
 t=KPU.load('{path}')
 try:
  {outputs}
  _r('loaded')
  u=[]
  for i in range({runs}):
   a=utime.ticks_us()
   f=KPU.forward(t,_x)
   a=utime.ticks_diff(utime.ticks_us(),a)
   if i>={warm_up}:
    u.append(a)
  try:
   f=[f[i] for i in range({classes})]
  except Exception:
   f=None
 finally:
  KPU.deinit(t)
 print('EMNAS output',f)
 print('EMNAS ticks',u)
try:
 _m()
finally:
 _x=_p=_m=None
_r('after')
"""
SET_OUTPUTS = "if not KPU.set_outputs(t,0,1,1,{classes}):raise ValueError('set_outputs failed')"


@dataclass(frozen=True)
class Answers:
    """What the script printed.

    Attributes:
        ticks: Microseconds of the timed runs.
        output: The network's output; None where it cannot be read.
        memory: What was free before the network was loaded, with it, and after.
    """

    ticks: tuple[float, ...]
    output: tuple[float, ...] | None
    memory: tuple[str, ...]


def input_lines(image: Array, files: BoardFiles) -> Iterator[str]:
    """Lines of code that make an image the list ``_x`` of floats on the board.

    Every value is made once and shared, as a board's heap does not hold a float for every pixel:
    an image of more than 256 values is rounded to 256 even steps, as the KPU takes no more.
    """
    values, indices = _levels(np.asarray(image, np.float32).ravel())
    yield f"import gc\n_x=_p=None\ngc.collect()\n_p=[]\n_x=[0]*{len(indices)}"
    for start in range(0, len(values), FLOATS):
        yield f"_p+=[{','.join(repr(float(v)) for v in values[start : start + FLOATS])}]"
    for start in range(0, len(indices), files.chunk):
        data = indices[start : start + files.chunk].astype(np.uint8).tobytes()
        yield f"i={start}\nfor c in {files.literal(data)}:\n _x[i]=_p[c]\n i+=1"


def _levels(pixels: Array) -> tuple[Array, Array]:
    """(N,) float32 pixels into at most 256 values and (N,) indices of them."""
    values, indices = np.unique(pixels, return_inverse=True)
    if len(values) > LEVELS:
        step = (values[-1] - values[0]) / (LEVELS - 1)
        rounded = values[0] + np.round((pixels - values[0]) / step) * step
        values, indices = np.unique(rounded.astype(np.float32), return_inverse=True)
    return values, indices


def measuring_code(path: str, version: int, runs: int, warm_up: int, classes: int) -> str:
    """The script.

    Args:
        path: Of the kmodel on the board.
        version: Of its format; of version 4 the shape of the output must be said.
        runs: How often it runs, warm-up included.
        warm_up: How many of these are not reported.
        classes: Length of its output.
    """
    outputs = SET_OUTPUTS.format(classes=classes) if version == 4 else "pass"
    return SCRIPT.format(path=path, outputs=outputs, runs=runs, warm_up=warm_up, classes=classes)


def parse_answers(printed: str, timed: int) -> Answers:
    """What the script printed, among whatever else the board says.

    Raises:
        ProtocolError: If the times are missing, of another number, or cannot be.
    """
    ticks = [[float(t) for t in line.split(", ")] for line in TICKS.findall(printed)]
    if len(ticks) != 1 or len(ticks[0]) != timed or min(ticks[0]) <= 0:
        raise ProtocolError(f"{timed} positive times should have come, not {printed[-80:]!r}")
    outputs = OUTPUT.findall(printed)
    return Answers(tuple(ticks[0]), _floats(outputs[0]) if outputs else None, _memory(printed))


def _floats(text: str) -> tuple[float, ...] | None:
    try:
        values = tuple(float(value) for value in text.split(", "))
    except ValueError:
        return None
    return values if all(map(math.isfinite, values)) else None


def _memory(printed: str) -> tuple[str, ...]:
    """Like ``before: 480,000 bytes of heap, free sys heap memory: 3400 KB``."""
    reports: list[str] = []
    for moment, free, more in MEMORY.findall(printed):
        if moment:
            reports.append(f"memory {moment}: {int(free):,} bytes of the heap are free")
        elif reports:
            reports[-1] += f", {printable(more)}"
    return tuple(reports)
