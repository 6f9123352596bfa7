"""What a sweep of λ shows: whether latency falls as it is weighed more, and what that costs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

POINT = 0.01  # of accuracy
FASTER = 0.2
Array = NDArray[np.float64]


def sweep_findings(result: Mapping[str, Any]) -> dict[str, Any]:
    """What the runs of a sweep show.

    Args:
        result: What `benchmarks.gradient.sweep.run_sweep` returns.

    Returns:
        ``rows``: for each λ its mean latency and accuracy with standard errors, and the number of
        runs. ``spearman``: of λ and mean measured latency. ``largest_step_up``: of mean latency
        from one λ to the next, in standard errors of the difference; negative if all steps lead
        down. ``faster``: of the λ ≥ 20 % faster than plain search, the one that loses least test
        accuracy, with both differences; None if there is none. ``prediction_error``: mean absolute
        relative difference of predicted and measured latency.
    """
    runs = result["runs"]
    rows = [_row(weight, runs) for weight in sorted({run["weight"] for run in runs})]
    latencies = [row["latency"] for row in rows]
    predicted = np.array([run["predicted"] for run in runs])
    measured = np.array([run["measured"] for run in runs])
    return {
        "rows": rows,
        "spearman": _spearman([row["weight"] for row in rows], latencies),
        "largest_step_up": max((_step(a, b) for a, b in itertools.pairwise(rows)), default=None),
        "faster": _faster(rows),
        "prediction_error": float(np.mean(np.abs(predicted / measured - 1))),
    }


def _row(weight: float, runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    mine = [run for run in runs if run["weight"] == weight]
    latency, latency_error = _mean([run["measured"] for run in mine])
    test, test_error = _mean([float(np.mean(run["test"])) for run in mine])
    int8, int8_error = _mean([run["int8"] for run in mine])
    entropy = [run["traces"][-1]["entropy"] for run in mine if run["traces"]]
    return {
        "weight": weight,
        "runs": len(mine),
        "distinct": len({tuple(run["tokens"]) for run in mine}),
        "latency": latency,
        "latency_error": latency_error,
        "test": test,
        "test_error": test_error,
        "int8": int8,
        "int8_error": int8_error,
        "entropy": float(np.mean(entropy)) if entropy else None,
        "equivalents": float(np.mean([run["equivalents"] for run in mine])),
    }


def _mean(values: Sequence[float]) -> tuple[float, float]:
    """Mean and its standard error; 0 for a single value, of which nothing is known."""
    error = np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return float(np.mean(values)), float(error)


def _spearman(weights: Sequence[float], latencies: Sequence[float]) -> float | None:
    """Rank correlation; None where latency never changes."""
    if len(set(latencies)) < 2:
        return None
    return float(spearmanr(weights, latencies).statistic)


def _step(before: Mapping[str, Any], after: Mapping[str, Any]) -> float:
    """By how much latency rises, in standard errors of the difference."""
    rise = after["latency"] - before["latency"]
    error = math.hypot(before["latency_error"], after["latency_error"])
    if not error:
        return math.copysign(math.inf, rise) if rise else 0.0
    return float(rise / error)


def _faster(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """The λ that loses least accuracy of those that are clearly faster than plain search."""
    plain = rows[0]
    found = [row for row in rows[1:] if row["latency"] <= (1 - FASTER) * plain["latency"]]
    if not found:
        return None
    best = max(found, key=lambda row: row["test"])
    loss = plain["test"] - best["test"]
    return {
        "weight": best["weight"],
        "faster": 1 - best["latency"] / plain["latency"],
        "loss": loss,
        "loss_error": math.hypot(plain["test_error"], best["test_error"]),
        "within_a_point": bool(loss <= POINT),
    }
