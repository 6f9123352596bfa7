"""A fitted `BlockNetwork` as a file: a line of JSON and the arrays, checked, no pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emnas_gym.array_file import read_arrays, write_arrays
from emnas_gym.errors import DomainError, SurrogateFileError
from predictors.lenna.network import BlockNetwork
from predictors.lenna.network_kinds import make_network

MAGIC = b"EmNAS block predictor 1\n"
MAX_BYTES = 64 << 20


def save_network(network: BlockNetwork, path: str | Path) -> Path:
    """Writes a fitted network into one file; an existing one is replaced.

    Returns:
        The path.
    """
    data = write_arrays(network.arrays())
    header = {**network.options(), "npz_sha256": hashlib.sha256(data).hexdigest()}
    header["checksum"] = _checksum(header)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(MAGIC + json.dumps(header, ensure_ascii=False).encode() + b"\n" + data)
    return path


def load_network(path: str | Path) -> BlockNetwork:
    """Reads what `save_network` wrote; it predicts the same bits.

    Raises:
        SurrogateFileError: If the file is missing, damaged, too large, or makes no sense.
        DomainError: If it was fitted on another form of a space.
    """
    try:
        return _parse(_bytes(Path(path)))
    except DomainError as error:
        raise DomainError(f"{path}: {error}; fit one again (`benchmarks lenna fit`)") from error
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        what = f"lacks {error}" if type(error) is KeyError else str(error)
        raise SurrogateFileError(f"{path}: {what}; fit and save it again") from error


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SurrogateFileError(f"is larger than {MAX_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise SurrogateFileError(f"cannot be read: {error.strerror}") from error


def _parse(content: bytes) -> BlockNetwork:
    if not content.startswith(MAGIC):
        raise SurrogateFileError("is no block predictor of this version")
    line, _, data = content[len(MAGIC) :].partition(b"\n")
    header = json.loads(line)
    if not isinstance(header, dict) or header.pop("checksum", None) != _checksum(header):
        raise SurrogateFileError("the checksum does not match: the header was damaged or edited")
    if hashlib.sha256(data).hexdigest() != header["npz_sha256"]:
        raise SurrogateFileError("the checksum of the arrays does not match: they were damaged")
    network = make_network(header["kind"], header["width"])
    network.restore(read_arrays(data), header)
    return network


def _checksum(header: Mapping[str, Any]) -> str:
    text = json.dumps(header, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
