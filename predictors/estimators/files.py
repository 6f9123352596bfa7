"""Fitted estimators as files: one file, a line of JSON and the arrays of the model, no pickle.

The header names the class, its parameters and what its model is made of. What is read is not
trusted: `predictors.sealed_file` bounds sizes and checks sums, classes come from our tables, and a
constructor only stores.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from emnas_gym.array_file import write_arrays
from emnas_gym.errors import SurrogateFileError
from emnas_gym.models.archive import unpack_model
from predictors.estimators.base import Estimator
from predictors.estimators.table import estimator_name, make_estimator
from predictors.fitted import PACKAGES
from predictors.sealed_file import read_sealed, told_of, write_sealed

MAGIC = b"EmNAS predictor 1\n"
MAX_COLUMNS = 1 << 20
PLAIN = (bool, int, float, str, type(None))


def save(estimator: Estimator, path: str | Path) -> Path:
    """Writes a fitted estimator into one file.

    Args:
        estimator: One of the table (`predictors.estimators.table`), fitted.
        path: Where; an existing file is replaced.

    Returns:
        The path.

    Raises:
        NotFittedError: If it was not fitted.
        UnknownName: If its class is not in the table.
        SurrogateFileError: If a parameter is no plain value.
    """
    check_is_fitted(estimator)
    model = estimator.model_
    arrays = model.arrays()
    header = {
        **_described(estimator),
        "columns": getattr(estimator, "n_features_in_", None),
        "names": _listed(getattr(estimator, "feature_names_in_", None)),
        "kind": model.kind,
        "options": model.options(),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
    }
    return write_sealed(Path(path), MAGIC, header, write_arrays(arrays) if arrays else b"")


def _listed(names: Any) -> list[str] | None:  # noqa: ANN401
    return None if names is None else [str(name) for name in names]


def load(path: str | Path) -> Estimator:
    """Reads what `save` wrote; it predicts the same bits.

    Raises:
        SurrogateFileError: If the file is missing, damaged, too large, or makes no sense.
    """
    with told_of(Path(path)):
        header, data = read_sealed(Path(path), MAGIC, "predictor file")
        estimator = _made(header)
        estimator.model_ = unpack_model(header["kind"], header["options"], data or None)
        _set_columns(estimator, header["columns"], header["names"])
        return estimator


def _set_columns(estimator: Estimator, columns: object, names: object) -> None:
    if columns is None:
        return
    if type(columns) is not int or not 0 < columns <= MAX_COLUMNS:
        raise SurrogateFileError(f"reads {columns!r} columns")
    if estimator.model_.columns not in (None, columns):
        raise SurrogateFileError(f"reads {columns} columns, its model {estimator.model_.columns}")
    estimator.n_features_in_ = columns
    if names is not None:
        if not isinstance(names, list) or len(names) != columns:
            raise SurrogateFileError(f"has other names than of {columns} columns")
        estimator.feature_names_in_ = np.array([str(name) for name in names], dtype=object)


def _described(estimator: Estimator) -> dict[str, Any]:
    params = estimator.get_params(deep=False)
    return {
        "estimator": estimator_name(estimator),
        "params": {name: _plain(value) for name, value in params.items()},
    }


def _plain(value: Any) -> Any:  # noqa: ANN401
    """A parameter as JSON data: tuples, estimators and infinite numbers as tables."""
    if isinstance(value, Estimator):
        return _described(value)
    if isinstance(value, (tuple, list)):
        return {type(value).__name__: [_plain(item) for item in value]}
    if isinstance(value, np.generic):
        return _plain(value.item())
    if not isinstance(value, PLAIN):
        raise SurrogateFileError(f"the parameter {value!r} is no plain value, and is not saved")
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": repr(value)}
    return value


def _value(data: Any) -> Any:  # noqa: ANN401
    """The parameter of `_plain`."""
    if not isinstance(data, dict):
        return data
    if "estimator" in data:
        return _made(data)
    ((name, content),) = data.items()
    if name == "float":
        return float(content)
    return {"tuple": tuple, "list": list}[name](_value(item) for item in content)


def _made(data: Mapping[str, Any]) -> Estimator:
    params = {str(name): _value(value) for name, value in data["params"].items()}
    return make_estimator(data["estimator"], **params)
