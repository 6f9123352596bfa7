"""Fitted surrogates as files: a JSON header that people can review, and an ``.npz`` of arrays.

The header says for what the surrogate was fitted, on what, by which command and how well; it
carries a checksum of the arrays and one of itself. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from emnas_gym import measurement
from emnas_gym.array_file import write_arrays
from emnas_gym.errors import SurrogateFileError, UnknownName
from emnas_gym.models.additive import AdditiveCosts
from emnas_gym.models.archive import unpack_model
from emnas_gym.models.base import FittedModel
from emnas_gym.models.ensemble import Ensemble
from emnas_gym.models.inputs import MATRICES, encoding
from emnas_gym.models.recurrent import RecurrentEnsemble

FORMAT = 2
OLD_FORMAT = 1  # of sums and ensembles only, with their options at the top; still read
FIELDS = (*measurement.FIELDS, "feasible")
MAX_BYTES = 64 << 20  # a file from outside is never trusted
MAX_SIDE = 1 << 20  # of an image, and of classes and tokens
MAX_MACS = 1 << 62
Predictor = Ensemble | RecurrentEnsemble
Model = FittedModel


@dataclass(frozen=True)
class Surrogate:
    """A fitted model and what it is good for.

    Attributes:
        field: What it predicts, one of `FIELDS`.
        space: Name of the search space.
        space_fingerprint: Fingerprint of the search space.
        task: Name of the task.
        input_shape: Shape of the task's images.
        classes: Classes of the task.
        device: Name of the device; None where the field does not depend on one.
        lengths: Least and largest number of tokens, the end token included.
        model: The model.
        about: Source, command, versions and held-out figures, for people.
        reads: Encoding that the model was fitted on, where it takes any matrix; that of the model
            if empty.
        max_macs: Multiply-accumulates of the largest networks that it was fitted for; None if it
            was not fitted on small ones alone.
    """

    field: str
    space: str
    space_fingerprint: str
    task: str
    input_shape: tuple[int, ...]
    classes: int
    device: str | None
    lengths: tuple[int, int]
    model: Model
    about: Mapping[str, Any]
    reads: str = ""
    max_macs: int | None = None

    @property
    def encoding(self) -> str:
        """Encoding in which the model is given networks (`emnas_gym.models.inputs`)."""
        return self.reads or self.model.encoding

    @property
    def name(self) -> str:
        """Name of its files, without suffix."""
        return surrogate_name(self.space, self.task, self.device, self.field)

    @property
    def fingerprint(self) -> str:
        """Sixteen digits that differ where the model, its numbers or what it reads differ."""
        content = [self.field, self.encoding, self.model.kind, self.model.options()]
        digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode())
        for name, array in sorted(self.model.arrays().items()):
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode() + array.tobytes())
        return digest.hexdigest()[:16]


def surrogate_name(space: str, task: str, device: str | None, field: str) -> str:
    """Name of the files of a surrogate, without suffix; a task may be the path of images."""
    name = "_".join([space, task, *([device] if device else []), field])
    return re.sub(r"[^\w.-]+", "-", name)


def shipped_folder() -> Path:
    """The surrogates of the package."""
    return Path(str(resources.files("emnas_gym").joinpath("surrogates")))


def surrogate_names(folder: Path) -> list[str]:
    """Names of the surrogates in a folder."""
    return sorted(path.stem for path in folder.glob("*.json"))


def write_surrogate(surrogate: Surrogate, path: Path) -> Path:
    """Writes a surrogate: a header, and its arrays beside it, where it has any.

    Args:
        surrogate: What is written.
        path: A folder, in which it gets its own name, or the path of the ``.json`` header.

    Returns:
        The path of the header.
    """
    if path.suffix != ".json":
        path = path / f"{surrogate.name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    model, reads = surrogate.model, surrogate.encoding
    header: dict[str, Any] = {"format": FORMAT}
    for name in _KEYS:
        header[name] = getattr(surrogate, name)
    if surrogate.max_macs is not None:
        header["max_macs"] = surrogate.max_macs
    header |= {"about": dict(surrogate.about), "reads": reads, "version": encoding(reads).version}
    header |= {"kind": model.kind, "options": model.options(), "npz_sha256": None}
    if arrays := model.arrays():
        data = write_arrays(arrays)
        header["npz_sha256"] = hashlib.sha256(data).hexdigest()
        path.with_suffix(".npz").write_bytes(data)
    header["checksum"] = _checksum(header)
    path.write_text(json.dumps(header, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


_KEYS = (
    "field",
    "space",
    "space_fingerprint",
    "task",
    "input_shape",
    "classes",
    "device",
    "lengths",
)


def read_surrogate(path: Path, *, any_name: bool = False) -> Surrogate:
    """Reads a surrogate.

    Args:
        path: The ``.json`` header; its ``.npz`` lies beside it.
        any_name: Whether the file may have another name than its surrogate has in a folder.

    Raises:
        SurrogateFileError: If a file is missing, damaged, of another format, or does not match.
    """
    try:
        surrogate = _parse(path, json.loads(_bytes(path)))
        if not any_name and surrogate.name != path.stem:
            raise SurrogateFileError(f"is the surrogate {surrogate.name} under another name")
        return surrogate
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise SurrogateFileError(
            f"{path}: {what}. Restore the file (git checkout, or reinstall the package), or fit it "
            "again with `python -m predictors fit`"
        ) from error


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SurrogateFileError(f"is larger than {MAX_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise SurrogateFileError(f"{path.name} cannot be read: {error.strerror}") from error


def _parse(path: Path, header: dict[str, Any]) -> Surrogate:
    if not isinstance(header, dict) or header.get("format") not in (OLD_FORMAT, FORMAT):
        raise SurrogateFileError(f"is no surrogate of format {OLD_FORMAT} or {FORMAT}")
    stored = header.pop("checksum", None)
    if stored != _checksum(header):
        raise SurrogateFileError("the checksum does not match: the header was damaged or edited")
    header = header if header["format"] == FORMAT else _of_old_format(header)
    if header["field"] not in FIELDS:
        raise SurrogateFileError(f"predicts {header['field']!r}, which nobody knows")
    values = {name: header[name] for name in _KEYS}
    values |= {name: tuple(values[name]) for name in ("input_shape", "lengths")}
    values["max_macs"] = header.get("max_macs")
    _check_values(values)
    model = unpack_model(header["kind"], header["options"], _arrays(path, header["npz_sha256"]))
    _check_reads(header, model)
    about = dict(header["about"])
    reads = "" if header["reads"] == model.encoding else header["reads"]
    return Surrogate(**values, model=model, about=about, reads=reads)


def _of_old_format(header: Mapping[str, Any]) -> dict[str, Any]:
    """A header of the old format as one of the new."""
    if header["kind"] not in ("additive", "ensemble", "recurrent"):
        raise SurrogateFileError(f"is of kind {header['kind']!r}, which nobody knows")
    summed = header["kind"] == "additive"
    names = ("details", "costs") if summed else ("link",)
    options = {name: header[name] for name in names}
    reads = {"ensemble": "features", "recurrent": "layers"}.get(header["kind"], "terms")
    if summed:
        reads = AdditiveCosts.of({}, options).encoding
    version = 1 if summed else header["features"]
    digest = None if summed else header["npz_sha256"]
    return {
        **header,
        "options": options,
        "reads": reads,
        "version": version,
        "npz_sha256": digest,
    }


def _arrays(path: Path, digest: object) -> bytes | None:
    if digest is None:
        return None
    data = _bytes(path.with_suffix(".npz"))
    if hashlib.sha256(data).hexdigest() != digest:
        raise SurrogateFileError(f"the checksum of {path.stem}.npz does not match: it was damaged")
    return data


def _check_values(values: Mapping[str, Any]) -> None:
    """Checks names and numbers of a header."""
    names = [values[key] for key in ("field", "space", "space_fingerprint", "task")]
    if values["device"] is not None:
        names.append(values["device"])
    numbers = [*values["input_shape"], values["classes"], *values["lengths"]]
    right = all(type(n) is int and 1 <= n <= MAX_SIDE for n in numbers)
    shape, lengths = values["input_shape"], values["lengths"]
    if not right or len(lengths) != 2 or lengths[0] > lengths[1] or len(shape) not in (1, 3):
        raise SurrogateFileError(f"has the shape {shape} and the lengths {lengths}")
    if not all(isinstance(name, str) for name in names) or math.prod(shape) > MAX_SIDE:
        raise SurrogateFileError(f"has the names {names} and images of {math.prod(shape)} values")
    macs = values["max_macs"]
    if macs is not None and (type(macs) is not int or not 1 <= macs <= MAX_MACS):
        raise SurrogateFileError(f"is for networks of up to {macs!r} MACs")


def _check_reads(header: Mapping[str, Any], model: FittedModel) -> None:
    """Checks that the model reads the encoding, and that this is still what it was."""
    reads = header["reads"]
    try:
        known = encoding(reads)
    except UnknownName as error:
        raise SurrogateFileError(str(error)) from error
    if known.version != header["version"]:
        raise SurrogateFileError(
            f"was fitted on {reads} of version {header['version']}, not {known.version}"
        )
    if reads != model.encoding and not (reads in MATRICES and model.encoding in MATRICES):
        raise SurrogateFileError(f"is fitted on {reads}, and its model reads {model.encoding}")


def _checksum(header: Mapping[str, Any]) -> str:
    text = json.dumps(header, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
