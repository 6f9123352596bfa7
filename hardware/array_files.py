"""Reads numpy files of unknown origin; nothing in them is executed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emnas_gym.array_file import BROKEN
from emnas_gym.errors import EmNASError
from hardware.program import Array


def read_arrays(path: Path) -> dict[str, Array]:
    """All arrays of an .npz file.

    Raises:
        EmNASError: If it cannot be read, or holds anything but plain arrays.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except BROKEN as error:
        raise EmNASError(f"{path}: no .npz file of plain arrays: {error}") from error


def read_array(path: Path) -> Array:
    """The array of an .npy file.

    Raises:
        EmNASError: If it cannot be read, or holds anything but one plain array.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
    except BROKEN as error:
        raise EmNASError(f"{path}: no .npy file of a plain array: {error}") from error
    if not isinstance(loaded, np.ndarray):
        loaded.close()
        raise EmNASError(f"{path}: holds several arrays; expected an .npy file with one")
    return loaded
