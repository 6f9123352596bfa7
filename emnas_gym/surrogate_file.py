"""Fitted surrogates as files: a JSON header that people can review, and an ``.npz`` of arrays.

The header says for what the surrogate was fitted, on what, by which command and how well; it
carries a checksum of the arrays and one of itself. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from emnas_gym import features
from emnas_gym.errors import SurrogateFileError
from emnas_gym.models.additive import AdditiveCosts
from emnas_gym.models.ensemble import Ensemble
from emnas_gym.models.recurrent import RecurrentEnsemble

FORMAT = 1
FIELDS = ("accuracy", "latency_ms", "feasible")
MAX_BYTES = 64 << 20  # a file from outside is never trusted
Predictor = Ensemble | RecurrentEnsemble
Model = Predictor | AdditiveCosts


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

    @property
    def name(self) -> str:
        """Name of its files, without suffix."""
        return surrogate_name(self.space, self.task, self.device, self.field)


def surrogate_name(space: str, task: str, device: str | None, field: str) -> str:
    """Name of the files of a surrogate, without suffix."""
    return "_".join([space, task, *([device] if device else []), field])


def shipped_folder() -> Path:
    """The surrogates of the package."""
    return Path(str(resources.files("emnas_gym").joinpath("surrogates")))


def surrogate_names(folder: Path) -> list[str]:
    """Names of the surrogates in a folder."""
    return sorted(path.stem for path in folder.glob("*.json"))


def write_surrogate(surrogate: Surrogate, folder: Path) -> Path:
    """Writes a surrogate; returns the path of its header."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{surrogate.name}.json"
    header: dict[str, Any] = {"format": FORMAT, "features": features.VERSION}
    for name in _KEYS:
        header[name] = getattr(surrogate, name)
    header |= {"about": dict(surrogate.about)} | _model_header(surrogate.model, path)
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


def _model_header(model: Model, path: Path) -> dict[str, Any]:
    if isinstance(model, AdditiveCosts):
        return {"kind": "additive", "details": list(model.details), "costs": dict(model.costs)}
    buffer = io.BytesIO()
    arrays = {name: array.astype(np.float32) for name, array in model.arrays().items()}
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    path.with_suffix(".npz").write_bytes(buffer.getvalue())
    digest = hashlib.sha256(buffer.getvalue()).hexdigest()
    kind = "ensemble" if isinstance(model, Ensemble) else "recurrent"
    return {"kind": kind, "link": model.link, "npz_sha256": digest}


def read_surrogate(path: Path) -> Surrogate:
    """Reads a surrogate.

    Args:
        path: The ``.json`` header; its ``.npz`` lies beside it.

    Raises:
        SurrogateFileError: If a file is missing, damaged, of another format, or does not match.
    """
    try:
        return _parse(path, json.loads(_bytes(path)))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
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
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise SurrogateFileError(f"is no surrogate of format {FORMAT}")
    stored = header.pop("checksum", None)
    if stored != _checksum(header):
        raise SurrogateFileError("the checksum does not match: the header was damaged or edited")
    if header["field"] not in FIELDS:
        raise SurrogateFileError(f"predicts {header['field']!r}, which nobody knows")
    if header["kind"] != "additive" and header["features"] != features.VERSION:
        raise SurrogateFileError(
            f"was fitted on features of version {header['features']}, not {features.VERSION}"
        )
    values = {name: header[name] for name in _KEYS}
    values |= {name: tuple(values[name]) for name in ("input_shape", "lengths")}
    surrogate = Surrogate(**values, model=_model(path, header), about=header["about"])
    if surrogate.name != path.stem:
        raise SurrogateFileError(f"is the surrogate {surrogate.name} under another name")
    return surrogate


def _model(path: Path, header: dict[str, Any]) -> Model:
    if header["kind"] == "additive":
        return AdditiveCosts.checked(header["costs"], header["details"])
    if header["kind"] not in ("ensemble", "recurrent"):
        raise SurrogateFileError(f"is of kind {header['kind']!r}, which nobody knows")
    data = _bytes(path.with_suffix(".npz"))
    if hashlib.sha256(data).hexdigest() != header["npz_sha256"]:
        raise SurrogateFileError(f"the checksum of {path.stem}.npz does not match: it was damaged")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, zipfile.BadZipFile) as error:
        raise SurrogateFileError(f"{path.stem}.npz cannot be read: {error}") from error
    if header["kind"] == "ensemble":
        return Ensemble.of(arrays, {"link": header["link"]})
    return RecurrentEnsemble.of(arrays, {"link": header["link"]})


def _checksum(header: Mapping[str, Any]) -> str:
    text = json.dumps(header, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
