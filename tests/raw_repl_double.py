"""A double of MaixPy's raw REPL, in CPython: what the emulated micro:bit has not.

Run as a program it answers on its standard streams, in the folder that it is given. It is no
MicroPython: it shows that our code takes the ways that are open where there are ``ubinascii``,
``os.rename``, ``KPU.memtest`` and kmodels of version 4.
"""

from __future__ import annotations

import binascii
import contextlib
import gc
import io
import os
import sys
import time
import traceback
import types
from typing import Any


class Fmap:
    """A feature map as `KPU.forward` returns it; one that cannot be read raises."""

    def __init__(self, values: list[float]) -> None:
        self._values = values

    def __getitem__(self, index: int) -> float:
        return self._values[index]


class Kpu:
    """Of a kmodel it reads the version, and the bytes behind byte 8 as what it should do."""

    def __init__(self) -> None:
        self.loaded = 0

    def load(self, path: str) -> dict[str, Any]:
        with open(path, "rb") as file:
            content = file.read()
        if self.loaded >= 5:
            raise ValueError("[MAIXPY]kpu: load error:2009, ERR_MODELS_FULL")
        self.loaded += 1
        return {"v4": content[:4] == b"LDMK", "shape": None, "does": content[8:]}

    def set_outputs(self, task: dict[str, Any], index: int, w: int, h: int, ch: int) -> bool:
        if b"other shape" in task["does"]:
            print("[MAIXPY]kpu: set_outputs arg value error: w,c,ch size not match output size")
            return False
        task["shape"] = (index, w, h, ch)
        return True

    def forward(self, task: dict[str, Any], x: list[float]) -> Fmap:
        assert task["shape"] == ((0, 1, 1, 4) if task["v4"] else None)
        time.sleep(0.002)
        return Fmap([] if b"no output" in task["does"] else [x[0], x[1], 9.5, min(x)])

    def memtest(self) -> None:
        print("###free gc heap memory : 400 KB")
        print(f"###free sys heap memory: {3400 - 100 * self.loaded} KB")

    def deinit(self, task: dict[str, Any]) -> bool:
        self.loaded -= 1
        return True


def _modules() -> dict[str, Any]:
    kpu = Kpu()
    gc.mem_free = lambda: 480_000  # type: ignore[attr-defined]
    return {
        "ubinascii": types.SimpleNamespace(a2b_base64=binascii.a2b_base64, crc32=binascii.crc32),
        "utime": types.SimpleNamespace(
            ticks_us=lambda: time.monotonic_ns() // 1000, ticks_diff=lambda a, b: a - b
        ),
        "KPU": kpu,
    }


def _answer(code: str, names: dict[str, Any]) -> bytes:
    output, trouble = io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(output):
            exec(code, names)
    except BaseException:
        trouble = traceback.format_exc()
    told = output.getvalue() + "\x04" + trouble + "\x04>"
    return b"OK" + told.replace("\n", "\r\n").encode()


def main() -> None:
    os.chdir(sys.argv[1])
    sys.modules.update(_modules())
    names: dict[str, Any] = {}
    code = bytearray()
    while data := os.read(0, 4096):
        for byte in data:
            if byte in (1, 2, 3):
                code.clear()
                told = {1: b"raw REPL; CTRL-B to exit\r\n>", 2: b"\r\n>>> ", 3: b""}[byte]
                os.write(1, told)
            elif byte == 4:
                os.write(1, _answer(code.decode(), names))
                code.clear()
            else:
                code.append(byte)


if __name__ == "__main__":
    main()
