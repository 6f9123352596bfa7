"""Arrays out of an ``.npz`` that may be hostile: nothing is unpickled, sizes are bounded."""

from __future__ import annotations

import io
import zipfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_BYTES = 256 << 20
# what the standard library raises on archives that are no archives, or of a kind it cannot read
_DAMAGED = (OSError, EOFError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)


def read_arrays(content: bytes, most: int = MAX_BYTES) -> dict[str, NDArray[Any]]:
    """The arrays of an ``.npz`` file by name.

    Args:
        content: The file.
        most: Bytes that all arrays together may take.

    Raises:
        ValueError: If it is damaged, holds objects, or would take more than that.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(info.file_size for info in archive.infolist()) > most:
                raise ValueError(f"would unpack to more than {most} bytes")
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except _DAMAGED as error:
        raise ValueError(str(error) or type(error).__name__) from error
