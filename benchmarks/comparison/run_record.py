"""What one run found, from the rows of its history: plain data for tables and reports."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.comparison.pareto import front, hypervolume_curve, rising
from emnas_gym.errors import EvaluationError
from emnas_gym.history import Row
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem


def fits(problem: Problem, result: object) -> bool:
    """Whether a network was measured and keeps all budgets."""
    if not isinstance(result, Measurement) or result.feasible is False:
        return False
    return not problem.budgets.broken(result)


def findings(
    rows: Sequence[Row],
    problem: Problem,
    described: Mapping[str, Any],
    true: Sequence[float] | None = None,
) -> dict[str, Any]:
    """What the rows of a finished run tell.

    Args:
        rows: All evaluations, in order.
        problem: What was searched.
        described: Of the environment; see `benchmarks.suites.environment.describe`.
        true: Rewards of the rows without noise, by which they are among the best or not; those
            that the search saw if None.

    Raises:
        EvaluationError: If nothing was evaluated.
    """
    if not rows:
        raise EvaluationError("nothing was evaluated: no episode finished a network")
    rewards = [row.reward for row in rows]
    curve = rising(rewards)
    vectors = _vectors(rows, problem)
    winner, optimum = _winner(rows, problem), described["optimum"]
    counted = rising(rewards if true is None else true)
    return {
        "evaluations": len(rows),
        "distinct": len({row.canonical for row in rows}),
        "best": max(rewards),
        "best_at": int(np.argmax(rewards)) + 1,
        "late_mean": float(np.mean(rewards[-max(len(rewards) // 10, 1) :])),
        "curve": curve,
        "regret": optimum["reward"] - winner["reward"] if optimum and winner["fits"] else None,
        "to_top": to_top(counted, described["reference"]),
        "hypervolume": _hypervolume(vectors, described["reference"]),
        "front": _front(rows, vectors, problem),
        "winner": winner,
    }


def to_top(
    curve: Sequence[Sequence[float]], reference: Mapping[str, Any] | None
) -> dict[str, int | None]:
    """Evaluations until the best so far is among the best p %, by p; None where it never was.

    Shares that the reference sample is too small for are left out: nobody could be among them.
    """
    if reference is None:
        return {}
    return {
        share: next((int(at) for at, best in curve if best >= threshold), None)
        for share, threshold in reference["thresholds"].items()
        if threshold is not None
    }


def _vectors(rows: Sequence[Row], problem: Problem) -> NDArray[np.float64]:
    """Objectives of every evaluation, larger being better; not a number where none counts."""
    nothing = np.full(len(problem.reward.objectives), np.nan)
    return np.array(
        [
            problem.reward.vector(row.result)
            if isinstance(row.result, Measurement) and fits(problem, row.result)
            else nothing
            for row in rows
        ],
        dtype=np.float64,
    )


def _hypervolume(
    vectors: NDArray[np.float64], reference: Mapping[str, Any] | None
) -> list[list[float]] | None:
    """Above the worst of the reference sample, in units of its span."""
    if reference is None:
        return None
    worst, best = np.array(reference["worst"]), np.array(reference["best"])
    span = np.where(best > worst, best - worst, 1.0)
    return hypervolume_curve(vectors, worst, span)


def _front(
    rows: Sequence[Row], vectors: NDArray[np.float64], problem: Problem
) -> list[dict[str, Any]]:
    known = [i for i in range(len(rows)) if np.isfinite(vectors[i]).all()]
    if not known:
        return []
    found = []
    for i in front(vectors[known]):
        row = rows[known[i]]
        fields = {name: getattr(row.result, name) for name in problem.reward.objectives}
        found.append({"tokens": list(row.tokens), **fields, "reward": row.reward})
    return found


def _winner(rows: Sequence[Row], problem: Problem) -> dict[str, Any]:
    """The network of highest reward that keeps all budgets; where none does, of highest reward."""
    fitting = [row for row in rows if fits(problem, row.result)]
    best = max(fitting or rows, key=lambda row: row.reward)
    measured = best.result.to_json() if isinstance(best.result, Measurement) else {}
    return {
        "tokens": list(best.tokens),
        "reward": best.reward,
        "fits": bool(fitting),
        "measurement": measured,
    }


def json_lines(rows: Sequence[Row]) -> str:
    """One JSON object a line and evaluation: its number, tokens, reward, batch and measurement."""
    return "".join(json.dumps(_line(i, row)) + "\n" for i, row in enumerate(rows, 1))


def _line(number: int, row: Row) -> dict[str, Any]:
    known = (
        row.result.to_json() if isinstance(row.result, Measurement) else {"error": str(row.result)}
    )
    head = {"evaluation": number, "tokens": row.tokens, "reward": row.reward, "batch": row.batch}
    return head | known
