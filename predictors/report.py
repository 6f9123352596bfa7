"""The report of all estimators: a row for each data set, beside baselines, ceilings and bounds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rich.table import Table as RichTable

from emnas_gym.errors import DatasetError, UnknownName
from emnas_gym.registry import import_string
from predictors.fitted import Figures
from predictors.metrics import rounded

ROWS = {  # name → function that returns a row, or several by name
    "sipeed": "predictors.rows.sipeed:row",
    "jevois": "predictors.rows.jevois:row",
    "accuracy_fixed": "predictors.rows.accuracy_fixed:row",
    "accuracy_variable": "predictors.rows.accuracy_variable:row",
    "dataset_7": "predictors.rows.dataset_7:row",
    "own_table": "predictors.rows.own_table:row",
    "hwnasbench": "predictors.rows.hwnasbench:rows",
    "nb201_c100": "predictors.rows.nb201_c100:row",
}
NEEDED = ("model", "n_train", "n_test", "mae", "tau", "baseline", "target", "reached")
SHOWN = ("mae", "mse", "tau", "spearman", "within_10pct")


def report(names: Iterable[str] = (), begin: Callable[[str], None] = lambda _: None) -> Figures:
    """Computes the rows.

    Args:
        names: Of `ROWS`; all if there are none.
        begin: Told the name of each before it is computed.

    Returns:
        ``rows``: figures by name; ``left_out``: the reason by name, where data are missing.

    Raises:
        UnknownName: If there is no such row.
    """
    chosen = list(names) or list(ROWS)
    for name in chosen:
        if name not in ROWS:
            raise UnknownName("row", name, ROWS)
    rows: Figures = {}
    left_out: dict[str, str] = {}
    for name in chosen:
        begin(name)
        start = time.perf_counter()
        try:
            found = import_string(ROWS[name])()
        except DatasetError as error:
            left_out[name] = str(error)
            continue
        seconds = time.perf_counter() - start
        for key, row in ({name: found} if "model" in found else found).items():
            rows[key] = checked(key, {"seconds": seconds, **row})
    return {"rows": rows, "left_out": left_out}


def checked(name: str, row: Mapping[str, Any]) -> Figures:
    """A row that says all that a row must say.

    Raises:
        ValueError: If something is missing; a defect of the row.
    """
    missing = [key for key in NEEDED if key not in row]
    if missing:
        raise ValueError(f"the row {name} lacks {', '.join(missing)}")
    plain = rounded(dict(row))
    assert isinstance(plain, dict)
    return plain


def report_table(found: Figures) -> RichTable:
    """The rows for people: each figure above the median's, with the bound beside it."""
    table = RichTable("row", "model", "train / test", *SHOWN, "reached", title="held-out figures")
    for name, row in found["rows"].items():
        cells = [_cell(row, key) for key in SHOWN]
        sizes = f"{row['n_train']} / {row['n_test']}"
        verdict = "yes" if row["reached"] else "[bold]no[/bold]"
        table.add_row(name, str(row["model"]), sizes, *cells, verdict, end_section=True)
    for name, reason in found["left_out"].items():
        table.add_row(name, reason, *[""] * (len(SHOWN) + 2))
    return table


def _cell(row: Figures, key: str) -> str:
    lines = [_number(row.get(key))]
    others = {"median": row["baseline"].get(key), "seed": (row.get("seed") or {}).get(key)}
    lines += [f"[dim]{who} {_number(value)}[/dim]" for who, value in others.items() if value]
    bound = row["target"].get(key)
    return "\n".join(lines + ([f"[dim]to reach {_number(bound)}[/dim]"] if bound else []))


def _number(value: Any) -> str:  # noqa: ANN401
    return f"{value:.4g}" if isinstance(value, (int, float)) else "–"
