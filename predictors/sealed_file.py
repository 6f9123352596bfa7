"""A line of JSON and arrays in one file, sealed by checksums, bounded in size: nothing is executed.

What is read is not trusted: whoever parses the header checks what it says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emnas_gym.errors import DomainError, SurrogateFileError

MAX_BYTES = 64 << 20
MAX_HEADER = 4 << 20  # a sum of costs has its names there


def write_sealed(path: Path, magic: bytes, header: Mapping[str, Any], data: bytes) -> Path:
    """Writes a file; an existing one is replaced.

    Args:
        path: Where.
        magic: A line that says what the file is.
        header: Plain data; checksums of the arrays and of itself are added.
        data: The arrays (`emnas_gym.array_file.write_arrays`), or nothing.

    Returns:
        The path.
    """
    sealed = {**header, "npz_sha256": _digest(data)}
    sealed["checksum"] = _checksum(sealed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(magic + json.dumps(sealed, ensure_ascii=False).encode() + b"\n" + data)
    return path


def read_sealed(path: Path, magic: bytes, what: str) -> tuple[dict[str, Any], bytes]:
    """Header and arrays of a file that `write_sealed` wrote.

    Args:
        path: The file.
        magic: The line that it begins with.
        what: What that line says it is, for the error.

    Raises:
        SurrogateFileError: If it is missing, too large, damaged or something else.
        ValueError: If its header is no JSON.
    """
    content = _bytes(path)
    if not content.startswith(magic):
        raise SurrogateFileError(f"is no {what} of this version")
    line, _, data = content[len(magic) :].partition(b"\n")
    if len(line) > MAX_HEADER:
        raise SurrogateFileError(f"has a header of {len(line)} bytes, more than {MAX_HEADER}")
    header = json.loads(line)
    if not isinstance(header, dict) or header.pop("checksum", None) != _checksum(header):
        raise SurrogateFileError("the checksum does not match: the header was damaged or edited")
    if _digest(data) != header["npz_sha256"]:
        raise SurrogateFileError("the checksum of the arrays does not match: they were damaged")
    return header, data


@contextmanager
def told_of(path: Path) -> Iterator[None]:
    """Says of which file something makes no sense; a `DomainError` is told by who knows the domain.

    Raises:
        SurrogateFileError: In place of whatever a file with strange contents makes a parser raise.
    """
    try:
        yield
    except DomainError:
        raise
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


def _digest(data: bytes) -> str | None:
    return hashlib.sha256(data).hexdigest() if data else None


def _checksum(header: Mapping[str, Any]) -> str:
    text = json.dumps(header, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
