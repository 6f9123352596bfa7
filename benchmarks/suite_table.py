"""The table of a suite: what each agent found, and which differences are larger than chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.statistics import bootstrap_interval, holm, p_greater
from benchmarks.suite import Suite
from benchmarks.verify import Verification
from benchmarks.versions import versions

if TYPE_CHECKING:
    from benchmarks.suite_run import Run


def tabulate(
    suite: Suite,
    runs: Mapping[tuple[str, int], Run],
    verified: Mapping[tuple[str, int], Verification],
) -> dict[str, Any]:
    """Sums a suite up: per agent all seeds' values, intervals, and Holm-adjusted p-values.

    Args:
        suite: What was compared.
        runs: By label and seed.
        verified: Verification of each run's winner; may be empty.
    """
    agents = {entry.label: _row(suite, entry.label, runs, verified) for entry in suite.agents}
    _add_p_values(agents, suite.baseline, "best", "p_vs_random")
    if verified:
        _add_p_values(agents, suite.baseline, "verified", "p_verified_vs_random")
    return {
        "suite": suite.name,
        "env": suite.env,
        "evaluations": suite.evaluations,
        "seeds": suite.seeds,
        "baseline": suite.baseline,
        "agents": agents,
        "correlation_predicted_verified": _correlation(agents) if verified else None,
        "versions": versions(),
    }


def _row(
    suite: Suite,
    label: str,
    runs: Mapping[tuple[str, int], Run],
    verified: Mapping[tuple[str, int], Verification],
) -> dict[str, Any]:
    mine = [runs[label, seed] for seed in range(suite.seeds)]
    best = [run.best for run in mine]
    steps, invalid = sum(r.steps for r in mine), sum(r.invalid_steps for r in mine)
    row: dict[str, Any] = {
        "best": best,
        "mean": float(np.mean(best)),
        "interval": bootstrap_interval(best),
        "late_mean": float(np.mean([run.late_mean for run in mine])),
        "distinct": float(np.mean([run.distinct for run in mine])),
        "invalid_share": invalid / steps if steps else None,
        "seconds": float(np.mean([run.seconds for run in mine])),
    }
    if verified:
        trained = [verified[label, seed] for seed in range(suite.seeds)]
        row["verified"] = [result.reward for result in trained]
        row["verified_mean"] = float(np.mean(row["verified"]))
        row["verified_interval"] = bootstrap_interval(row["verified"])
        row["verified_accuracy"] = [result.mean for result in trained]
    return row


def _add_p_values(agents: dict[str, dict[str, Any]], baseline: str, column: str, key: str) -> None:
    raw = {
        label: p_greater(row[column], agents[baseline][column])
        for label, row in agents.items()
        if label != baseline
    }
    adjusted = holm(raw)
    for label, row in agents.items():
        row[key] = adjusted.get(label)


def _correlation(agents: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Agreement of predicted and verified reward over all winners."""
    from scipy.stats import kendalltau, pearsonr, spearmanr

    predicted = [value for row in agents.values() for value in row["best"]]
    found = [value for row in agents.values() for value in row["verified"]]
    return {
        "n": len(found),
        "pearson": float(pearsonr(predicted, found).statistic),
        "spearman": float(spearmanr(predicted, found).statistic),
        "kendall": float(kendalltau(predicted, found).statistic),
    }


HEADERS = ("agent", "best reward", "95 %", "p", "verified", "95 %", "p", "late mean", "distinct",
           "invalid", "seconds")  # fmt: skip
FOUND = 7  # columns that say what was found; the others say how


def cells(result: Mapping[str, Any]) -> list[list[str]]:
    """The rows of the table as text."""
    return [[label, *_cells(row)] for label, row in result["agents"].items()]


def _cells(row: Mapping[str, Any]) -> list[str]:
    known = "verified" in row
    return [
        f"{row['mean']:.4f}",
        _interval(row["interval"]),
        _p(row["p_vs_random"]),
        f"{row['verified_mean']:.4f}" if known else "–",
        _interval(row["verified_interval"]) if known else "–",
        _p(row.get("p_verified_vs_random")),
        f"{row['late_mean']:.3f}",
        f"{row['distinct']:.0f}",
        "–" if row["invalid_share"] is None else f"{100 * row['invalid_share']:.1f} %",
        f"{row['seconds']:.0f}",
    ]


def _interval(interval: Sequence[float]) -> str:
    return f"{interval[0]:.4f}–{interval[1]:.4f}"


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def show_suite(result: Mapping[str, Any], console: Console) -> None:
    """Prints the table."""
    title = f"{result['env']}, {result['evaluations']} evaluations, {result['seeds']} seeds"
    console.print(_table(result, range(FOUND), title))
    console.print(_table(result, [0, *range(FOUND, len(HEADERS))], ""))
    if correlation := result["correlation_predicted_verified"]:
        console.print(
            f"predicted and verified reward over {correlation['n']} winners: "
            f"Pearson {correlation['pearson']:.2f}, Spearman {correlation['spearman']:.2f}"
        )


def _table(result: Mapping[str, Any], columns: Sequence[int], title: str) -> Table:
    """Some columns of the table: all of them are wider than a terminal."""
    table = Table(title=title, box=SIMPLE, padding=(0, 1, 0, 0), show_edge=False, pad_edge=False)
    for column in columns:
        header = HEADERS[column].replace("best reward", "best\nreward").replace("late ", "late\n")
        table.add_column(header, justify="right" if column else "left", no_wrap=True)
    for row in cells(result):
        table.add_row(*(row[column] for column in columns))
    return table


def markdown(result: Mapping[str, Any]) -> str:
    """The table for a README."""
    lines = ["| " + " | ".join(HEADERS) + " |", "|" + " --- |" * len(HEADERS)]
    lines += ["| " + " | ".join(row) + " |" for row in cells(result)]
    return "\n".join(lines)
