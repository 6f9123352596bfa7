"""The figures of LENNA's predictors: every data set, every predictor, rows in five parts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from emnas_gym.errors import DatasetError
from predictors.estimators.files import save
from predictors.lenna.backends.base import Settings
from predictors.lenna.backends.table import make_backend
from predictors.lenna.comparison import agreement, compare, split_rows, within_groups
from predictors.lenna.contenders import NAMES, Alone, Elastic, SumFitted, make_contender
from predictors.lenna.network_file import save_network
from predictors.lenna.network_fit import HOW, fit_network
from predictors.lenna.row_store import BlockRows
from predictors.unfinished import Unfinished

LEAST_ROWS = 40
SHOWN = ("scaled", "elastic", "mlp", "graph")


@dataclass(frozen=True)
class Compared:
    """Data of one kind.

    Attributes:
        title: What it is.
        rows: What was measured.
    """

    title: str
    rows: BlockRows


def alone_of(rows: BlockRows) -> Alone:
    """What measures operations alone on the backend of the rows, with its settings.

    Raises:
        DatasetError: If the rows say of no backend that is here.
    """
    known = {name: value for name, value in _backend(rows).items() if name in vars(Settings())}
    backend = make_backend(Settings(**known))
    return backend.alone_us


def _backend(rows: BlockRows) -> Mapping[str, Any]:
    about = rows.environment.get("backend")
    if not isinstance(about, Mapping) or "backend" not in about:
        raise DatasetError("the rows do not say on which backend they were measured")
    return about


def compare_all(
    data: Mapping[str, Compared],
    parts: int,
    unfinished: Unfinished,
    advance: Callable[[str], object] = lambda what: None,
) -> dict[str, Any]:
    """Figures of all predictors on all data sets.

    Args:
        data: By name.
        parts: Of the cross-validations.
        unfinished: Keeps what is done, so that an interrupted run goes on.
        advance: Called after each fit.
    """
    found: dict[str, Any] = {}
    for name, compared in data.items():
        _check(name, compared.rows)
        key = f"{name} {_digest(compared.rows)}"
        known = unfinished.part(key, partial(_figures, compared.rows, parts, name, advance))
        found[name] = {"title": compared.title, **known}
    return found


def _digest(rows: BlockRows) -> str:
    """Twelve hexadecimal digits that change with the rows and where they were measured."""
    environment = json.dumps(dict(rows.environment), sort_keys=True).encode()
    content = rows.x.tobytes() + rows.latency_us.tobytes() + environment
    return hashlib.sha256(content).hexdigest()[:12]


def _check(name: str, rows: BlockRows) -> None:
    if len(rows) < LEAST_ROWS:
        raise DatasetError(
            f"{name}: {len(rows)} rows are too few to split; collect {LEAST_ROWS} or more"
        )


def _figures(
    rows: BlockRows, parts: int, name: str, advance: Callable[[str], object]
) -> dict[str, Any]:
    widths = np.unique(rows.x[:, :2], axis=0)
    few_groups = len(widths) < 2 * parts
    figures: dict[str, Any] = {
        "rows": len(rows),
        "groups": len(widths),
        "mean_resets": float(rows.resets.mean()),
        "latency_us": [float(v) for v in np.quantile(rows.latency_us, (0.0, 0.5, 1.0))],
        "environment": dict(rows.environment),
        "splits": {},
    }
    if few_groups and len(rows) >= 200 * len(widths):
        figures["within_groups"] = within_groups(rows, parts)
    alone = alone_of(rows)
    for split in ("random",) if few_groups else ("random", "grouped"):
        figures["splits"][split] = compare(
            rows, NAMES, alone, parts, split, lambda what: advance(f"{name}: {what}")
        )
    figures["scatter"] = _scatter(rows, alone, parts)
    return figures


def _scatter(rows: BlockRows, alone: Alone, parts: int) -> dict[str, Any]:
    """Measured and predicted latencies of one part, for the picture."""
    train, test = next(split_rows(rows.x, parts, "random"))
    found: dict[str, Any] = {"measured_us": rows.latency_us[test].tolist()}
    for name in SHOWN:
        fitted = make_contender(name, alone).fit(rows.x[train], rows.latency_us[train])
        predicted = fitted.predict(rows.x[test])
        found[name] = {
            "predicted_us": predicted.tolist(),
            "mape": agreement(predicted, rows.latency_us[test])["mape"],
        }
    return found


def save_all(name: str, rows: BlockRows, folder: Path) -> list[Path]:
    """Fits every predictor to all rows of a data set and writes it, no pickle anywhere.

    Returns:
        The files: two of torch modules (`predictors.lenna.network_file`), two of estimators.
    """
    about = {"data": name, "rows": len(rows), "environment": dict(rows.environment)}
    paths = [
        save_network(
            fit_network(rows.x, rows.latency_us, how, about), folder / f"{name}_{kind}.network"
        )
        for kind, how in HOW.items()
    ]
    for kind, contender in (("sum", SumFitted()), ("elastic", Elastic())):
        contender.fit(rows.x, rows.latency_us)
        paths.append(save(contender.estimator, folder / f"{name}_{kind}.predictor"))
    return paths


def names_of(figures: Mapping[str, Any]) -> Sequence[str]:
    """Predictors of a data set in the order of tables."""
    return [name for name in NAMES if name in figures]
