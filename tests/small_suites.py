"""Suites of a few evaluations, run in this process, and what stands in their folders."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benchmarks import aggregates
from benchmarks.execution import Execution, InTurn
from benchmarks.suite import Entry, Environment, Suite
from benchmarks.suite_run import Part, run_suite

TIMES = ("seconds", "cpu_seconds")
WHOLLY_KNOWN = Environment(  # every network was trained, so that its optimum is known
    "bench",
    "EmNAS-v0",
    60,
    {"space": "emnas-bench-8", "evaluator": "emnas_gym.bench:BenchEvaluator"},
)


def small_suite(seeds: int = 2, evaluations: int = 60, **changes: Any) -> Suite:
    """Random search (both samplers) and evolution on the default environment's surrogate."""
    known: dict[str, Any] = {
        "name": "small",
        "title": "A small one",
        "seeds": seeds,
        "environments": (Environment("digits", "EmNAS-v0", evaluations),),
        "agents": (
            Entry("random", "random", {"batch": 4}),
            Entry("evolution", "evolution", {"population": 10, "tournament": 3}),
        ),
        "reference": 20,
    }
    return Suite(**(known | changes))


def run_here(
    suite: Suite, out: Path, part: Part | None = None, execution: Execution | None = None
) -> dict[str, Any]:
    """Runs a suite in this process."""
    return run_suite(suite, out, 1, Console(file=io.StringIO()), part, execution or InTurn())


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Coarse bootstrap intervals, where a test asks for none."""
    monkeypatch.setattr(aggregates, "DRAWS", 20)
    yield


def rows_of(folder: Path) -> dict[str, Any]:
    """Everything that the finished runs of a suite tell, wall times aside, by relative path."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("evaluations.jsonl")):
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        found[str(path.relative_to(folder))] = [timeless(line) for line in lines]
    for path in sorted(folder.rglob("run.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        found[str(path.relative_to(folder))] = timeless(run) | {
            "winner": run["winner"] | {"measurement": timeless(run["winner"]["measurement"])}
        }
    return found


def timeless(data: dict[str, Any]) -> dict[str, Any]:
    """The data without what every process measures anew."""
    return {key: value for key, value in data.items() if key not in TIMES}
