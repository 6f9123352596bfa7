"""The report of all estimators as a page for people: every number comes from the figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

COMMAND = "python -m predictors report --out docs"
NAMES = {
    "mae": "MAE",
    "mse": "MSE",
    "tau": "τ",
    "spearman": "Spearman",
    "within_10pct": "±10 %",
    "within_20pct": "±20 %",
}
SMALLER = ("mae", "mse")  # of these the smaller is the better
ABOUT = {
    "sipeed": "Latency on the Sipeed Maix Bit, ms; the original's split, rows up to 2,000 ms",
    "jevois": "Latency on the JeVois camera, ms; the original's split, rows up to 100 ms",
    "accuracy_fixed": "Accuracy on grasp, six tokens; the original's split",
    "accuracy_variable": "Accuracy on grasp, 4 to 15 tokens; the original's split",
    "dataset_7": "Latency on the K210 of the later space, ms; ten folds of the measured rows",
    "own_table": "Accuracy on digits, our own table; held out by architecture",
    "hwnasbench_raspi4": "HW-NAS-Bench, Raspberry Pi 4, ms; 900 cells, classes held out",
    "hwnasbench_pixel3": "HW-NAS-Bench, Pixel 3, ms; 900 cells, classes held out",
    "hwnasbench_eyeriss": "HW-NAS-Bench, Eyeriss, ms; 900 cells, classes held out",
    "hwnasbench_fpga": "HW-NAS-Bench, FPGA, ms; 900 cells, classes held out",
    "nb201_c100": "NAS-Bench-201, accuracy on CIFAR-100; 100 cells, classes held out",
}
HEAD = f"""\
# What estimators reach

`{COMMAND}` makes this page and `estimators.json`. Models and settings are chosen by
cross-validation inside the training rows; the test rows are read when the figures are made. Where
there are many draws (the cells), features were settled on other draws, whose training cells are
test cells here. *Median* predicts the median of the training rows; *original* is what the system
that this project grew from published for the same rows. *Ceiling* and *floor* are what two
measurements of the same networks agree to, where there are two. An interval is 95 % of the mean
over repeated splits or folds. One network stands for each class of isomorphic cells; all cells of
other classes stand in a line of their own.
"""


def write_page(found: Mapping[str, Any], folder: Path) -> Path:
    """Writes ``estimators.json`` and ``estimators.md``; returns the path of the page.

    Args:
        found: What `predictors.report.report` returns.
        folder: Where to write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)
    (folder / "estimators.json").write_text(text + "\n", encoding="utf-8")
    page = folder / "estimators.md"
    page.write_text(markdown(found), encoding="utf-8")
    return page


def markdown(found: Mapping[str, Any]) -> str:
    """The page: a table of what was asked for, then each row in full."""
    rows = found["rows"]
    lines = [HEAD, "| row | asked for | reached | |", "| --- | --- | --- | --- |"]
    for name, row in rows.items():
        asked = ", ".join(_bound(key, value) for key, value in row["target"].items())
        got = ", ".join(f"{NAMES[key]} {_number(row.get(key))}" for key in row["target"])
        lines.append(f"| {name} | {asked} | {got} | {'yes' if row['reached'] else '**no**'} |")
    for name, row in rows.items():
        lines += ["", f"## {name}", "", *_section(name, row)]
    for name, reason in found["left_out"].items():
        lines += ["", f"## {name}", "", f"Left out: {reason}"]
    return "\n".join(lines) + "\n"


def _section(name: str, row: Mapping[str, Any]) -> list[str]:
    keys = [key for key in NAMES if isinstance(row.get(key), (int, float))]
    who = {"model": row, "median": row["baseline"], "original": row.get("seed")}
    named = {
        "trees_on_path_features": "trees on path features",
        "macs": "MACs",
        "params": "parameters",
        "all_cells_of_other_classes": "model, all cells of other classes",
    }
    who |= {text: row.get(key) for key, text in named.items()}
    lines = [f"{ABOUT.get(name, name)}. Model: {row['model']}; {row['n_train']} training rows,"]
    lines += [f"{row['n_test']} test rows.", "", _line(["", *(NAMES[key] for key in keys)])]
    lines.append(_line(["---"] * (len(keys) + 1)))
    for text, figures in who.items():
        if isinstance(figures, Mapping):
            lines.append(_line([text, *(_number(figures.get(key)) for key in keys)]))
    repeated = row.get("repeated") or {}
    spans = [_span(repeated[key]) if key in repeated else "–" for key in keys]
    if repeated:
        lines.append(_line(["repeated", *spans]))
    lines += ["", *_remarks(row)]
    return lines


def _remarks(row: Mapping[str, Any]) -> list[str]:
    remarks = []
    if row.get("repeated"):
        remarks.append(f"- Repeated: {row['repeated']['how']}.")
    limits = {"ceiling of τ": row.get("tau_ceiling"), "floor of the MAE": row.get("mae_floor")}
    known = [f"{name} {_number(value)}" for name, value in limits.items() if value is not None]
    again = row.get("repeatability") or {}
    if "spearman_ceiling" in again:
        known.append(f"ceiling of Spearman {_number(again['spearman_ceiling'])}")
        known.append(f"two measurements within ±10 % {_number(again['within_10pct'])}")
    if known:
        remarks.append(f"- By the noise of the labels: {', '.join(known)}.")
    if row.get("evidence"):
        remarks.append(_evidence(row["evidence"]))
    tried = [f"{name} {_tried(score)}" for name, score in (row.get("tried") or {}).items()]
    if tried:
        remarks.append(f"- Tried, cross-validated on the training rows: {'; '.join(tried)}.")
    return remarks


def _evidence(found: Mapping[str, Any]) -> str:
    """What few rows can decide, where no noise of labels is known."""
    spans = [f"{NAMES[key]} {_span(found[f'{key}_interval'])}" for key in SMALLER]
    return (
        f"- No network was trained twice, so that the noise of the labels is not known. 95 % over "
        f"the test rows: {', '.join(spans)}; three of them make "
        f"{_number(found['mse_of_the_three_worst'])} of the MSE. Were the model's own "
        f"probabilities that a network learns true, it would leave "
        f"{_tried(found['if_calibrated'])}."
    )


def _tried(score: object) -> str:
    if isinstance(score, Mapping):
        return ", ".join(f"{NAMES.get(key, key)} {_number(value)}" for key, value in score.items())
    return _number(score)


def _bound(key: str, value: float) -> str:
    return f"{NAMES[key]} {'≤' if key in SMALLER else '≥'} {_number(value)}"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _span(values: list[float]) -> str:
    low, mean, high = values
    return f"{_number(mean)} ({_number(low)} … {_number(high)})"


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, (int, float)) else "–"
