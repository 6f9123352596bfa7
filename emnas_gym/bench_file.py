"""The file of a table in which every network of a small space was trained several times."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emnas_gym.array_file import read_arrays, write_arrays
from emnas_gym.errors import StoreError

FORMAT = 1
MAX_BYTES = 3 << 20
Counts = NDArray[np.uint16]
Column = NDArray[np.float64]


@dataclass(frozen=True)
class BenchTable:
    """Every network of a space, trained with several seeds, and its costs.

    Accuracies are kept as counts of images, so that nothing is rounded.

    Attributes:
        tokens: Token ids of every network, filled up with zeros, shape (N, L).
        valid_hits: Validation images classified rightly after each epoch, shape (N, trials, E).
        test_hits: Test images classified rightly after the last epoch, shape (N, trials).
        int8_hits: The same of the int8 file, shape (N, trials).
        seconds: Wall time of each training, shape (N, trials).
        costs: ``"field/device"`` → measured values, shape (N,); NaN where there is none.
        about: Space, fingerprint, task, images, recipe, command, versions.
    """

    tokens: NDArray[np.uint8]
    valid_hits: Counts
    test_hits: Counts
    int8_hits: Counts
    seconds: NDArray[np.float32]
    costs: Mapping[str, Column]
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def trials(self) -> int:
        """Trainings of every network."""
        return int(self.valid_hits.shape[1])

    @property
    def valid_accuracy(self) -> Column:
        """Validation accuracy after the last epoch, shape (N, trials)."""
        shares: Column = self.valid_hits[:, :, -1] / float(self.about["images"]["valid"])
        return shares

    @property
    def test_accuracy(self) -> Column:
        """Test accuracy after the last epoch, shape (N, trials); no search may see it."""
        shares: Column = self.test_hits / float(self.about["images"]["test"])
        return shares

    @property
    def int8_accuracy(self) -> Column:
        """Test accuracy of the int8 file, shape (N, trials)."""
        shares: Column = self.int8_hits / float(self.about["images"]["test"])
        return shares

    def networks(self) -> list[tuple[int, ...]]:
        """Token ids of every network."""
        return [tuple(int(token) for token in row if token) for row in self.tokens]


def shipped_bench() -> Path:
    """The table of the package."""
    return Path(str(resources.files("emnas_gym").joinpath("tables", "emnas-bench-8_digits.npz")))


def is_bench(path: Path) -> bool:
    """Whether a file looks like such a table, and not like another one."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "valid_hits.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def write_bench(table: BenchTable, path: Path) -> None:
    """Writes a table.

    Raises:
        StoreError: If it would be larger than 3 MiB, or does not read back as it was.
    """
    arrays: dict[str, NDArray[Any]] = {
        "tokens": table.tokens,
        "valid_hits": table.valid_hits,
        "test_hits": table.test_hits,
        "int8_hits": table.int8_hits,
        "seconds": table.seconds,
    }
    arrays |= {f"cost/{name}": column for name, column in table.costs.items()}
    header = {"format": FORMAT, "about": dict(table.about), "checksum": _checksum(arrays)}
    path.parent.mkdir(parents=True, exist_ok=True)
    text = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
    path.write_bytes(write_arrays({"header": text, **arrays}))
    if path.stat().st_size > MAX_BYTES:
        raise StoreError(f"{path}: {path.stat().st_size} bytes are more than {MAX_BYTES}")
    _parse(path)


@lru_cache(maxsize=4)
def read_bench(path: Path) -> BenchTable:
    """Reads a table; once a process.

    Raises:
        StoreError: If there is none, it is damaged, too large, or does not fit together.
    """
    try:
        return _parse(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{path}: is no table of trainings, or damaged: {error}. Restore the file "
            "(git checkout, or reinstall the package)"
        ) from error


def _parse(path: Path) -> BenchTable:
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"is larger than {MAX_BYTES} bytes")
    arrays = read_arrays(path.read_bytes())
    header = json.loads(arrays.pop("header").tobytes())
    if header["format"] != FORMAT:
        raise ValueError(f"format {header['format']} instead of {FORMAT}")
    if header["checksum"] != _checksum(arrays):
        raise ValueError("the checksum does not match")
    _check(arrays, header["about"])
    costs = {n[5:]: a.astype(np.float64) for n, a in arrays.items() if n.startswith("cost/")}
    names = ("tokens", "valid_hits", "test_hits", "int8_hits", "seconds")
    return BenchTable(**{name: arrays[name] for name in names}, costs=costs, about=header["about"])


def _check(arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> None:
    """Whether shapes and counts fit together."""
    networks, trials, epochs = arrays["valid_hits"].shape
    shapes = {
        "tokens": (networks, arrays["tokens"].shape[-1]),
        "valid_hits": (networks, trials, epochs),
        **dict.fromkeys(("test_hits", "int8_hits", "seconds"), (networks, trials)),
        **{name: (networks,) for name in arrays if name.startswith("cost/")},
    }
    wrong = [name for name, array in arrays.items() if array.shape != shapes.get(name)]
    if wrong or set(shapes) != set(arrays) or not networks * trials * epochs:
        raise ValueError(f"arrays that are unknown, missing or of another shape: {wrong}")
    for name, part in {"valid_hits": "valid", "test_hits": "test", "int8_hits": "test"}.items():
        if arrays[name].dtype != np.uint16 or arrays[name].max() > int(about["images"][part]):
            raise ValueError(f"{name} counts more images than there are")


def _checksum(arrays: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        if array.dtype.kind == "f":  # stored as short as nothing is lost
            array = array.astype(np.float64)
        digest.update(f"{name} {array.dtype.str} {array.shape}".encode() + array.tobytes())
    return digest.hexdigest()
