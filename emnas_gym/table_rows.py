"""What evaluators that look up have in common: which trial counts, whose costs, one result."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from emnas_gym.columns import Columns
from emnas_gym.errors import DomainError, EvaluationError
from emnas_gym.evaluator import Result
from emnas_gym.measurement import WHOLE, Measurement

Values = NDArray[np.float64]


def chosen_trials(trials: Values, trial: int | None, noise_seed: int | None) -> Values:
    """What counts as the value of every row, shape (N,).

    Args:
        trials: Shape (N, trials).
        trial: The one that counts; the mean of all if neither this nor a noise seed is given.
        noise_seed: By which one trial of each row is drawn.

    Raises:
        DomainError: If there is no such trial, or both are given.
    """
    rows, count = trials.shape
    if trial is not None and noise_seed is not None:
        raise DomainError("trial and noise_seed exclude each other: give one of them")
    if trial is not None and not 0 <= trial < count:
        raise DomainError(f"trial {trial}: the table has trials 0 to {count - 1}")
    if noise_seed is not None:
        drawn = np.random.default_rng(noise_seed).integers(count, size=rows)
        chosen: Values = trials[np.arange(rows), drawn]
        return chosen
    mean: Values = trials.mean(axis=1)
    return mean if trial is None else trials[:, trial]


def costs_of(columns: Mapping[str, Values], names: Collection[str]) -> dict[str, Values]:
    """Field → values, of the columns ``"field/name"`` with one of the names, and of ``"field"``."""
    split = [(*name.partition("/")[::2], column) for name, column in columns.items()]
    known = {field: column for field, of, column in split if not of}
    return known | {field: column for field, of, column in split if of in names}


def looked_up(accuracy: Values, costs: Mapping[str, Values], row: int) -> Result:
    """What a table says of one row, or the error that a cost is not there.

    Args:
        accuracy: Shape (N,).
        costs: Field → values, shape (N,); NaN where there is none.
        row: Index.
    """
    known = {name: float(column[row]) for name, column in costs.items()}
    missing = [name for name, value in known.items() if np.isnan(value)]
    if missing:
        return EvaluationError(f"the table has no {', '.join(missing)} of this network")
    values = {name: round(v) if name in WHOLE else v for name, v in known.items()}
    return Measurement.of("table", accuracy=float(accuracy[row]), **values)


def looked_up_columns(
    accuracy: Values, costs: Mapping[str, Values], rows: NDArray[np.int64]
) -> Columns:
    """What a table says of several rows: `looked_up`, as columns.

    Args:
        accuracy: Shape (N,).
        costs: Field → values, shape (N,); NaN where there is none.
        rows: Indices.
    """
    values = {"accuracy": accuracy[rows]} | {name: column[rows] for name, column in costs.items()}
    for name in WHOLE & set(values):
        values[name] = np.rint(values[name])
    lacks = np.zeros(len(rows), dtype=np.bool_)
    for name in costs:
        lacks |= np.isnan(values[name])
    errors = {}
    for i in np.flatnonzero(lacks).tolist():
        found = looked_up(accuracy, costs, int(rows[i]))
        assert isinstance(found, EvaluationError)
        errors[i] = found
    return Columns(values, dict.fromkeys(values, "table"), None, errors).without_failed()
