"""Winners of a suite are really trained, and read the test part that no search has seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.suites.collect import verified_key
from benchmarks.suites.environment import open_environment
from benchmarks.suites.execution import Record
from benchmarks.suites.folder import write_json
from benchmarks.suites.suite import Environment
from benchmarks.winners.verify import Verification, Verifier, full_recipe
from emnas_gym.errors import EvaluationError
from emnas_gym.history import Row
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from predictors.datasets import load
from predictors.trained import TrainedEvaluator


def verify_winners(
    environment: Environment,
    records: Sequence[Record],
    folder: Path,
    workers: int,
    advance: Callable[[], None],
) -> None:
    """Trains the winner of every run and writes what it reached to ``winners.json``.

    What was trained before is remembered by ``verified.json``, so that this resumes as well.

    Args:
        environment: As the suite says it.
        records: Of its runs.
        folder: Of the environment, in that of the suite.
        workers: Parallel trainings.
        advance: Called after each winner.

    Raises:
        DatasetError: If the task has no images.
        EvaluationError: If a run has no network that keeps its budgets, or one cannot be trained.
    """
    env = open_environment(environment)
    try:
        problem = env.problem
        rows = [_row(record, problem) for record in records]
        results = _train(environment, problem, rows, folder, workers, advance)
    finally:
        env.close()
    runs = {
        verified_key(record["agent"], record["seed"]): _told(result, row)
        for record, result, row in zip(records, results, rows, strict=True)
    }
    write_json(folder / "winners.json", {"runs": runs})


def _train(
    environment: Environment,
    problem: Problem,
    rows: Sequence[Row],
    folder: Path,
    workers: int,
    advance: Callable[[], None],
) -> list[Verification]:
    data = load(problem.task.name, problem.task.input_shape[0])
    trainer = TrainedEvaluator(data, full_recipe(), workers=workers)
    seeds = tuple(range(environment.verify_seeds))
    verifier = Verifier(trainer, problem, seeds, folder / "verified.json")
    try:
        results = verifier.verify(rows, advance)
    finally:
        trainer.close()
    for result in results:
        if isinstance(result, EvaluationError):
            raise result
    return [result for result in results if isinstance(result, Verification)]


def _row(record: Record, problem: Problem) -> Row:
    winner = record["winner"]
    if not winner["fits"]:
        raise EvaluationError(
            f"{record['env']}, {record['agent']}, seed {record['seed']}: no network that was "
            "measured keeps all budgets"
        )
    tokens = tuple(winner["tokens"])
    measured = Measurement.from_json(winner["measurement"])
    canonical = problem.space.canonical_tokens(tokens)
    return Row(tokens, canonical, measured, winner["reward"], 0)


def _told(result: Verification, row: Row) -> dict[str, Any]:
    spread = float(np.std(result.test, ddof=1)) if len(result.test) > 1 else None
    predicted = row.result.accuracy if isinstance(row.result, Measurement) else None
    return {
        "reward": result.reward,
        "accuracy": result.mean,
        "deviation": spread,
        "trainings": len(result.test),
        "predicted_reward": row.reward,
        "predicted_accuracy": predicted,
    }
