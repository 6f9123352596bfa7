"""The tables of a suite for a terminal: what each agent found, how sure that is, what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.report.suite.samplers import sampler_notes
from emnas_gym.errors import StoreError

FORMAT = 2
FOUND = ("agent", "best\nreward", "95 %", "IQM", "p", "better\nthan base", "95 %")
VERIFIED = ("agent", "verified", "95 %", "p")
COST = ("agent", "regret", "top 1 %\nafter", "late\nmean", "distinct", "invalid", "trainings",
        "seconds", "CPU s")  # fmt: skip
Rows = list[list[str]]


def tables(result: Mapping[str, Any], env: str) -> dict[tuple[str, ...], Rows]:
    """Headers → rows of the tables of one environment, as text.

    Args:
        result: Of a suite; see `benchmarks.suites.collect.collect_result`.
        env: Label of the environment.

    """
    statistics = result["statistics"].get(env, {})
    runs = {label: [r for r in result["runs"] if (r["env"], r["agent"]) == (env, label)]
            for label in statistics}  # fmt: skip
    found: dict[tuple[str, ...], Rows] = {
        FOUND: [_found(label, row) for label, row in statistics.items()]
    }
    if any(row["verified_mean"] is not None for row in statistics.values()):
        found[VERIFIED] = [_verified(label, row) for label, row in statistics.items()]
    return found | {COST: [_cost(label, of) for label, of in runs.items()]}


def _found(label: str, row: Mapping[str, Any]) -> list[str]:
    chance = row["probability_of_improvement"]
    return [
        label,
        f"{row['mean']:.4f}",
        _interval(row["interval"]),
        f"{row['iqm']:.4f}",
        _p(row["p_holm"]),
        "–" if chance is None else f"{100 * chance['value']:.0f} %",
        "–" if chance is None else "–".join(f"{100 * end:.0f}" for end in chance["interval"]),
    ]


def _verified(label: str, row: Mapping[str, Any]) -> list[str]:
    if row["verified_mean"] is None:
        return [label, "–", "–", "–"]
    interval, p = _interval(row["verified_interval"]), _p(row["verified_p_holm"])
    return [label, f"{row['verified_mean']:.4f}", interval, p]


def _cost(label: str, runs: Sequence[Mapping[str, Any]]) -> list[str]:
    steps, invalid = sum(r["steps"] for r in runs), sum(r["invalid_steps"] for r in runs)
    return [
        label,
        _mean(runs, "regret", "{:.4f}"),
        _to_top(runs),
        _mean(runs, "late_mean", "{:.3f}"),
        _mean(runs, "distinct", "{:.0f}"),
        f"{100 * invalid / steps:.1f} %" if steps else "–",
        _mean(runs, "trainings", "{:.0f}"),
        _mean(runs, "seconds", "{:.1f}"),
        _mean(runs, "cpu_seconds", "{:.1f}"),
    ]


def _mean(runs: Sequence[Mapping[str, Any]], key: str, form: str) -> str:
    values = [run[key] for run in runs if run[key] is not None]
    return form.format(np.mean(values)) if values else "–"


def _to_top(runs: Sequence[Mapping[str, Any]]) -> str:
    """Median evaluations until a run is among the best 1 %; runs that never were count as last."""
    if not all("1" in run["to_top"] for run in runs):
        return "–"
    after = [run["to_top"]["1"] for run in runs]
    middle = float(np.median([np.inf if at is None else at for at in after]))
    return f"{middle:.0f}" if np.isfinite(middle) else "never"


def _interval(interval: Sequence[float]) -> str:
    return f"{interval[0]:.4f}–{interval[1]:.4f}"


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def show_suite(result: Mapping[str, Any], console: Console) -> None:
    """Prints the tables of every environment, within 80 columns.

    Raises:
        StoreError: If the result is of another format.
    """
    if result.get("format") != FORMAT:
        raise StoreError(
            f"a result of format {FORMAT} is shown here, not of {result.get('format')!r}; run the "
            "suite again in another folder"
        )
    for environment in result["environments"]:
        title = (
            f"{environment['label']}: {environment['env']}, {environment['evaluations']} "
            f"evaluations, {result['seeds']} seeds; base: {environment['baseline']}"
        )
        for headers, rows in tables(result, environment["label"]).items():
            console.print(_table(headers, rows, title))
            title = ""
        _show_correlation(result["predicted_verified"].get(environment["label"]), console)
    for note in sampler_notes(result):
        console.print(note, markup=False)
    if missing := len(result["missing"]):
        console.print(f"{missing} runs are missing: the same command goes on from what is there")


def _show_correlation(found: Mapping[str, Any] | None, console: Console) -> None:
    if found is not None and found["pearson"] is not None:
        console.print(
            f"predicted and verified reward over {found['n']} winners: "
            f"Pearson {found['pearson']:.2f}, Spearman {found['spearman']:.2f}"
        )


def _table(headers: Sequence[str], rows: Rows, title: str) -> Table:
    table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    for column, header in enumerate(headers):
        first = column == 0  # labels are the user's, and may be long
        table.add_column(
            header, justify="left" if first else "right", no_wrap=not first, overflow="fold"
        )
    for row in rows:
        table.add_row(*row)
    return table
