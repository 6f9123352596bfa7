"""Named arrays as bytes, and back from bytes that nobody vouches for.

Written is a plain ``.npz``. Read is only what that can hold: numbers, of the size that the archive
itself says, in all not more than a limit, so that a small file cannot ask for much memory.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

MAX_BYTES = 256 << 20  # of all arrays together, unpacked
MAX_ARRAYS = 4096
HEADER_BYTES = 4096  # more than the header of any array that we write
BROKEN = (  # what numpy and the standard library raise on bytes that are not what they say
    *(OSError, EOFError, ValueError, TypeError, RuntimeError, NotImplementedError, KeyError),
    *(zipfile.BadZipFile, zlib.error, struct.error, OverflowError, SyntaxError, MemoryError),
)


def write_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays of numbers as the bytes of a compressed ``.npz``, equal for equal arrays.

    Float64 whose values float32 holds is stored as that; nothing is ever lost.
    """
    buffer = io.BytesIO()
    named: dict[str, Any] = {name: _compact(np.asarray(a)) for name, a in arrays.items()}
    np.savez_compressed(buffer, allow_pickle=False, **named)
    return buffer.getvalue()


def _compact(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype != np.float64 or (np.abs(array) > np.finfo(np.float32).max).any():
        return array
    short = array.astype(np.float32)
    return short if (short.astype(np.float64) == array).all() else array


def read_arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """What `write_arrays` wrote, as it was stored.

    Raises:
        ValueError: If it is no such archive, is too large, or holds something else than numbers.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            parts = archive.infolist()
            if len(parts) > MAX_ARRAYS or sum(part.file_size for part in parts) > MAX_BYTES:
                raise ValueError(f"holds more than {MAX_ARRAYS} arrays or {MAX_BYTES} B")
            names = [part.filename.removesuffix(".npy") for part in parts]
            if len(set(names)) < len(names):
                raise ValueError("holds two arrays of one name")
            return {n: _array(archive, part) for n, part in zip(names, parts, strict=True)}
    except BROKEN as error:
        raise ValueError(f"the arrays cannot be read: {error}") from error


def _array(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(part) as member:
        content = member.read(part.file_size + 1)
    stream = io.BytesIO(content)
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(stream)
    shape, by_columns, dtype = read[version](stream, max_header_size=HEADER_BYTES)
    size = math.prod(shape) * dtype.itemsize
    if dtype.kind not in "fiub" or size != len(content) - stream.tell() or len(shape) > 8:
        raise ValueError(f"{part.filename} says {dtype} of shape {shape}, and is not that")
    flat = np.frombuffer(content, dtype=dtype, offset=stream.tell())
    return flat.reshape(shape, order="F" if by_columns else "C").astype(dtype.newbyteorder("="))
