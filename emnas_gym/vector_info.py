"""Infos of many environments in Gymnasium's vector form, written without a dictionary for each.

For every key there is an array with a value for each environment, and under ``_key`` which of
them have one; a dictionary is nested. A key that no environment has is not there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emnas_gym.columns import Column, Columns
from emnas_gym.measurement import WHOLE

Info = dict[str, Any]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]


def put(info: Info, key: str, values: Any, have: Flags) -> None:  # noqa: ANN401
    """Puts a key that one environment or more has.

    Args:
        info: Where to.
        key: Name.
        values: (N, ...), zeros where an environment has none; or a nested info.
        have: (N,), which environments have it; copied.
    """
    info[key], info[f"_{key}"] = values, have.copy()


def put_rows(info: Info, key: str, rows: Ints, values: NDArray[Any], count: int) -> None:
    """Puts a key that some environments have, if any has.

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
        info[key], info[f"_{key}"] = full, flags(rows, count)


def flags(rows: Ints, count: int) -> Flags:
    """(N,), true in these rows."""
    have = np.zeros(count, dtype=np.bool_)
    have[rows] = True
    return have


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
    if not len(rows):
        return info
    names = [name for name in columns.values if name in WHOLE]  # whole numbers come first
    whole = len(names)
    names += [name for name in columns.values if name not in WHOLE]
    block = np.array([*(columns.values[name] for name in names), *terms.values()])
    numbers, have, some = _spread(block, rows, count)
    kinds = [*numbers[:whole].astype(np.int64), *numbers[whole:]]
    *inside, of_measurement, of_terms, of_vector = have
    for key, first, keys, who in (
        ("measurement", 0, names, of_measurement),
        ("reward_terms", len(names), list(terms), of_terms),
    ):
        inner: Info = {}
        for i, name in enumerate(keys, first):
            if some[i]:
                inner[name], inner[f"_{name}"] = kinds[i], inside[i]
        if inner:
            info[key], info[f"_{key}"] = inner, who
    objectives = np.zeros((count, vector.shape[1]), dtype=vector.dtype)
    objectives[rows] = vector
    info["reward_vector"], info["_reward_vector"] = objectives, of_vector
    return info


def _spread(block: Column, rows: Ints, count: int) -> tuple[Column, Flags, list[bool]]:
    """Columns of some environments as columns of all.

    Args:
        block: (columns, rows), NaN where a number is not known; 0 afterwards.
        rows: Which environments.
        count: N.

    Returns:
        The numbers, (columns, N), 0 where there is none; who has one, (columns, N), followed by
        three rows in which all of these environments have something; and which columns have any.
    """
    values = np.zeros((len(block), count))
    have = np.zeros((len(block) + 3, count), dtype=np.bool_)
    have[:, rows] = True
    some = [True] * len(block)
    unknown = block != block
    if np.count_nonzero(unknown):
        have[: len(block), rows] = ~unknown
        some = (~unknown).any(axis=1).tolist()
        block[unknown] = 0.0
    values[:, rows] = block
    return values, have, some
