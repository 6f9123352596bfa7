"""Infos of many environments in Gymnasium's vector form, written without a dictionary for each.

For every key there is an array with a value for each environment, and under ``_key`` which of
them have one; a dictionary is nested. A key that no environment has is not there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emnas_gym.columns import Column, Columns
from emnas_gym.measurement import FIELDS, WHOLE

Info = dict[str, Any]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]


def put(info: Info, key: str, values: Any, have: Flags) -> None:  # noqa: ANN401
    """Puts a key with a value for each environment.

    Args:
        info: Where to.
        key: Name.
        values: (N, ...), zeros where an environment has none; or a nested info.
        have: (N,), which environments have it; copied.
    """
    if have.any():
        info[key], info[f"_{key}"] = values, have.copy()


def put_rows(info: Info, key: str, rows: Ints, values: NDArray[Any], count: int) -> None:
    """Puts a key that some environments have.

    Args:
        info: Where to.
        key: Name.
        rows: Which environments, in the order of the values.
        values: (rows, ...).
        count: N.
    """
    if len(rows):
        full = np.zeros((count, *values.shape[1:]), dtype=values.dtype)
        full[rows] = values
        have = np.zeros(count, dtype=np.bool_)
        have[rows] = True
        info[key], info[f"_{key}"] = full, have


def put_nested(
    info: Info, key: str, rows: Ints, columns: dict[str, Column], count: int, whole: bool
) -> None:
    """Puts a dictionary of numbers that some environments have.

    Args:
        info: Where to.
        key: Name of the dictionary.
        rows: Which environments, in the order of the columns.
        columns: Name → (rows,), NaN where one has no such number.
        count: N.
        whole: Whether names are fields, of which some are whole numbers.
    """
    inner: Info = {}
    if whole:
        names = [name for name in FIELDS if name in columns]
        _put_block(inner, [n for n in names if n in WHOLE], rows, columns, count, np.int64)
        names = [name for name in names if name not in WHOLE]
    else:
        names = list(columns)
    _put_block(inner, names, rows, columns, count, np.float64)
    have = np.zeros(count, dtype=np.bool_)
    have[rows] = True
    put(info, key, inner, have)


def _put_block(
    info: Info, names: list[str], rows: Ints, columns: dict[str, Column], count: int, kind: type
) -> None:
    """Puts numbers of one type, all at once where every row has them."""
    if not names:
        return
    block = np.array([columns[name] for name in names])
    unknown = np.isnan(block)
    if unknown.any():
        for name, column, missing in zip(names, block, unknown, strict=True):
            put_rows(info, name, rows[~missing], column[~missing].astype(kind), count)
        return
    values: NDArray[Any] = np.zeros((len(names), count), dtype=kind)
    values[:, rows] = block
    have = np.zeros((len(names), count), dtype=np.bool_)
    have[:, rows] = True
    for i, name in enumerate(names):
        info[name], info[f"_{name}"] = values[i], have[i]


def measured_info(
    columns: Columns, terms: dict[str, Column], vector: NDArray[np.float32], rows: Ints, count: int
) -> Info:
    """What is known of networks that were measured.

    Args:
        columns: Their measurements.
        terms: Terms of their rewards.
        vector: (rows, objectives), their reward vectors.
        rows: Their environments.
        count: N.
    """
    info: Info = {}
    if columns.errors:
        good = columns.measured()
        columns, vector, rows = columns.take(good), vector[good], rows[good]
        terms = {name: column[good] for name, column in terms.items()}
    if len(rows):
        put_nested(info, "measurement", rows, columns.values, count, whole=True)
        put_nested(info, "reward_terms", rows, terms, count, whole=False)
        put_rows(info, "reward_vector", rows, vector, count)
    return info
