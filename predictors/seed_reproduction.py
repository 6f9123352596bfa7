"""The original's predictor, trained again on the original's own splits: "re-trained by us".

The one-hot rows, the network and its training are the original's; the test part is its tenth, a
tenth of the rest was its validation part, on which it did not learn.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emnas_gym import encodings
from emnas_gym.errors import UnknownName
from emnas_gym.models.base import Array
from emnas_gym.space import load_space
from predictors.emnas_tables import hardware_rows, read_table
from predictors.estimators.seed_network import SeedNetworkRegressor
from predictors.fitted import Figures
from predictors.metrics import errors, ranks
from predictors.splits import of_the_original

SPACE = "emnas-382"
VALIDATION = 0.1  # of the rows that are not test rows
EPOCHS = 200


@dataclass(frozen=True)
class Published:
    """A column of the original's tables, and what it reports on its test rows.

    Attributes:
        table: Name of the table.
        column: Field of a row.
        positions: Positions of the one-hot input; 5 leave the end token out.
        limit: Rows above it were left out; None where none were.
        mse: Test error that the original reports, in the column's unit squared.
        mae: The same, in the column's unit.
    """

    table: str
    column: str
    positions: int
    limit: float | None
    mse: float
    mae: float


PUBLISHED = {
    "accuracy_fixed": Published("dataset_3", "accuracy", 5, None, 0.0205, 0.0957),
    "accuracy_variable": Published("variable_length", "accuracy", 15, None, 0.0188, 0.0826),
    "sipeed": Published("dataset_3", "sipeed_latency_ms", 5, 2000.0, 38_612.0, 125.655),
    "jevois": Published("dataset_3", "jevois_latency_ms", 5, 100.0, 31.0, 3.80),
}


def rows_of(name: str) -> tuple[Array, Array]:
    """One-hot rows (N, positions · 383) and values (N,) of a column, in the original's order.

    Raises:
        UnknownName: If the original has no such predictor.
        DatasetError: If the table is missing.
    """
    if name not in PUBLISHED:
        raise UnknownName("predictor of the original", name, PUBLISHED)
    case, space = PUBLISHED[name], load_space(SPACE)
    if case.limit is None:
        rows = [row for row in read_table(case.table) if row.accuracy is not None]
    else:
        rows = hardware_rows(case.column, case.limit)
    ends = -1 if case.positions == 5 else None
    x = [encodings.onehot(space, row.tokens[:ends], case.positions).ravel() for row in rows]
    return np.stack(x).astype(np.float64), np.array([getattr(row, case.column) for row in rows])


def retrained(name: str, seeds: Sequence[int] = (0,)) -> Figures:
    """Errors of the original's network, trained by us, on the original's test rows.

    Args:
        name: One of `PUBLISHED`.
        seeds: One training each.

    Returns:
        Mean over the seeds of ``mae``, ``mse``, ``tau`` and ``spearman``, every seed's ``mae`` and
        ``mse``, and what was published; latencies in ms.

    Raises:
        UnknownName: If the original has no such predictor.
        DatasetError: If the table is missing.
    """
    start, (x, y), case = time.perf_counter(), rows_of(name), PUBLISHED[name]
    rest, test = of_the_original(len(y))
    train = rest[: round(len(rest) * (1 - VALIDATION))]
    fits = [_train(case.positions, seed, x[train], y[train]).predict(x[test]) for seed in seeds]
    found = [{**errors(p, y[test]), **ranks(p, y[test])} for p in fits]
    maes = [float(row["mae"] or 0.0) for row in found]
    mses = [float(row["rmse"] or 0.0) ** 2 for row in found]
    return {
        "model": "seed network, re-trained by us",
        "mae": float(np.mean(maes)),
        "mse": float(np.mean(mses)),
        "tau": _mean([row["tau"] for row in found]),
        "spearman": _mean([row["spearman"] for row in found]),
        "mae_of_each_seed": maes,
        "mse_of_each_seed": mses,
        "published": {"mae": case.mae, "mse": case.mse},
        "n_train": len(train),
        "n_test": len(test),
        "seconds": time.perf_counter() - start,
    }


def _train(positions: int, seed: int, x: Array, y: Array) -> SeedNetworkRegressor:
    return SeedNetworkRegressor(positions, epochs=EPOCHS, seed=seed).fit(x, y)


def _mean(values: Sequence[float | None]) -> float | None:
    """Mean of rank correlations; None where a network says the same of all."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if len(known) == len(values) else None
