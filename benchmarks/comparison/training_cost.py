"""What a run cost in trainings: in full-training equivalents, and in seconds by a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from benchmarks.comparison.known_table import parts, simulated_seconds
from emnas_gym.evaluator import Evaluator
from emnas_gym.history import Row
from emnas_gym.ledger import Ledger
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem

TRAINED = {"trained", "table"}  # accuracies for which a network was trained, now or for the table
COUNTERS = ("equivalents", "spent_equivalents")  # of evaluators that count their own trainings


def training_cost(
    evaluator: Evaluator, problem: Problem, ledger: Ledger, stored: int
) -> dict[str, Any]:
    """Trainings and, by a table, their seconds: every network once, as repeats cost nothing.

    Args:
        evaluator: What measured.
        problem: What was searched.
        ledger: All evaluations of the run, and what was charged besides.
        stored: How many of them were answered from the history of an earlier process.

    Returns:
        ``trainings``: full-training equivalents, charges included; None where an evaluator counts
        them itself and the run was resumed, so that it saw only a part. ``simulated_seconds``:
        what the trainings took according to the table; None without one.
    """
    measured = list(_distinct(ledger.rows))
    counted = [getattr(p, name) for p in parts(evaluator) for name in COUNTERS if hasattr(p, name)]
    trainings: float | None
    if counted:
        trainings = None if stored else float(sum(counted)) + ledger.charged
    else:
        trained = sum(result.provenance.get("accuracy") in TRAINED for result in measured)
        trainings = float(trained * max(_seeds(evaluator), default=1)) + ledger.charged
    return {
        "trainings": trainings,
        "simulated_seconds": simulated_seconds(evaluator, problem, ledger.rows),
    }


def waited(replayed: Sequence[Row]) -> float:
    """Seconds that measuring took before a run was resumed; the agent's own are spent anew."""
    return sum(result.seconds for result in _distinct(replayed))


def _distinct(rows: Iterable[Row]) -> Iterator[Measurement]:
    for result in {row.canonical: row.result for row in rows}.values():
        if isinstance(result, Measurement):
            yield result


def _seeds(evaluator: Evaluator) -> list[int]:
    """Trainings of each network by evaluators that average several."""
    known = (getattr(part, "seeds", None) for part in parts(evaluator))
    return [seeds for seeds in known if isinstance(seeds, int)]
