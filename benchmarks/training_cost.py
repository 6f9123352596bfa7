"""What a run cost in trainings: in full-training equivalents, and in seconds by a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from emnas_gym.evaluator import Evaluator, EvaluatorStack
from emnas_gym.history import Row
from emnas_gym.measurement import Measurement

TRAINED = {"trained", "table"}  # accuracies for which a network was trained, now or for the table
COUNTERS = ("equivalents", "spent_equivalents")  # of evaluators that count their own trainings


def training_cost(evaluator: Evaluator, rows: Sequence[Row], stored: int) -> dict[str, Any]:
    """Trainings and, by a table, their seconds: every network once, as repeats cost nothing.

    Args:
        evaluator: What measured.
        rows: All evaluations of the run.
        stored: How many of them were answered from the history of an earlier process.

    Returns:
        ``trainings``: full-training equivalents; None where an evaluator counts them itself and
        the run was resumed, so that it saw only a part. ``simulated_seconds``: what the trainings
        took according to the table; None without one.
    """
    measured = list(_distinct(rows))
    seconds = sum(result.seconds for result in measured if _is_looked_up(result))
    counted = [getattr(p, name) for p in _parts(evaluator) for name in COUNTERS if hasattr(p, name)]
    trainings: float | None
    if counted:
        trainings = None if stored else float(sum(counted))
    else:
        trained = sum(result.provenance.get("accuracy") in TRAINED for result in measured)
        trainings = float(trained * max(_seeds(evaluator), default=1))
    return {"trainings": trainings, "simulated_seconds": seconds or None}


def waited(replayed: Sequence[Row]) -> float:
    """Seconds that measuring took before a run was resumed; the agent's own are spent anew."""
    return sum(result.seconds for result in _distinct(replayed) if not _is_looked_up(result))


def _distinct(rows: Iterable[Row]) -> Iterator[Measurement]:
    for result in {row.canonical: row.result for row in rows}.values():
        if isinstance(result, Measurement):
            yield result


def _is_looked_up(result: Measurement) -> bool:
    """Whether its seconds passed when the table was made, not in the run."""
    return "table" in result.provenance.values()


def _parts(evaluator: Evaluator) -> tuple[Evaluator, ...]:
    return evaluator.parts if isinstance(evaluator, EvaluatorStack) else (evaluator,)


def _seeds(evaluator: Evaluator) -> list[int]:
    """Trainings of each network by evaluators that average several."""
    known = (getattr(part, "seeds", None) for part in _parts(evaluator))
    return [seeds for seeds in known if isinstance(seeds, int)]
