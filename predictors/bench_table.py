"""Makes the shipped table of a small space from collected trainings, and describes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from emnas_gym.analytic import AnalyticEvaluator
from emnas_gym.bench import BenchEvaluator, optimum, pooled_deviation
from emnas_gym.bench_file import BenchTable
from emnas_gym.errors import StoreError
from emnas_gym.evaluator import Evaluator, EvaluatorStack
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.space import SearchSpace
from emnas_gym.tasks import Task
from predictors.collect import enumerated
from predictors.fitted import Figures
from predictors.metrics import agreement, noise_floor, rounded
from predictors.store import Tokens, Training
from predictors.tables import Table, made_with

COMMAND = "python -m predictors collect --space emnas-bench-8 --whole --seeds 3"
BOARDS = ("stm32f446re", "ethos-u55-128")  # a line in MACs, and measured by a compiler
DRAWS = (10, 100, 300)  # evaluations of random search


def bench_table(
    table: Table, space: SearchSpace, task: Task, images: tuple[int, int], seeds: int = 3
) -> BenchTable:
    """Arranges collected trainings by network and seed.

    Args:
        table: What `predictors collect --whole` collected.
        space: The space.
        task: The task.
        images: Validation and test images of the task.
        seeds: Trainings of every network.

    Raises:
        StoreError: If a training, its int8 accuracy, or a cost is missing; says how many.
    """
    networks = [tokens for tokens, _ in enumerated(space, task)]
    known = {(row.tokens, row.seed): row for row in table.trainings}
    wanted = [(tokens, seed) for tokens in networks for seed in range(seeds)]
    missing = sum(key not in known or known[key].int8_accuracy is None for key in wanted)
    if missing:
        raise StoreError(f"{missing} of {len(wanted)} trainings are missing: `{COMMAND}` goes on")
    rows = [[known[tokens, seed] for seed in range(seeds)] for tokens in networks]
    about = {
        "space": space.name,
        "space_fingerprint": space.fingerprint,
        "task": task.name,
        "images": {"valid": images[0], "test": images[1]},
        "recipe": table.about["recipe"],
        "host": table.about.get("host", ""),
        "command": COMMAND,
        **made_with(),
    }
    return BenchTable(
        _padded(networks),
        _hits(rows, images[0], lambda row: row.curve),
        _hits(rows, images[1], lambda row: row.test_accuracy),
        _hits(rows, images[1], lambda row: row.int8_accuracy),
        np.array([[row.seconds for row in trials] for trials in rows], dtype=np.float32),
        _costs(table, networks),
        about,
    )


def _padded(networks: Sequence[Tokens]) -> NDArray[np.uint8]:
    array = np.zeros((len(networks), max(map(len, networks))), dtype=np.uint8)
    for row, tokens in zip(array, networks, strict=True):
        row[: len(tokens)] = tokens
    return array


def _hits(rows: list[list[Training]], images: int, share: Any) -> NDArray[np.uint16]:  # noqa: ANN401
    shares = np.array([[share(row) for row in trials] for trials in rows], dtype=np.float64)
    counts: NDArray[np.uint16] = np.rint(shares * images).astype(np.uint16)
    return counts


def _costs(table: Table, networks: Sequence[Tokens]) -> dict[str, NDArray[np.float64]]:
    columns = {}
    for device, measured in table.costs.items():
        refused = {tokens for tokens, _, stage, _ in table.failures if stage == device}
        missing = sum(tokens not in measured and tokens not in refused for tokens in networks)
        if missing:
            command = f"{COMMAND} --costs {device}"
            raise StoreError(f"{missing} costs on {device} are missing: `{command}` goes on")
        for field in sorted({name for values in measured.values() for name in values}):
            values = [measured.get(tokens, {}).get(field, np.nan) for tokens in networks]
            columns[f"{field}/{device}"] = np.array(values)
    return columns


def describe_bench(path: Path, table: BenchTable, space: SearchSpace | None = None) -> Figures:
    """What the table holds: accuracies, noise, optima, how well int8 and single trainings agree.

    Args:
        path: Its file.
        table: What was read from it.
        space: Its space; the one of that name if None.
    """
    valid, test, int8 = table.valid_accuracy, table.test_accuracy, table.int8_accuracy
    mean = valid.mean(axis=1)
    figures = {
        "file": path.name,
        "bytes": path.stat().st_size,
        "networks": len(table.tokens),
        "trials": table.trials,
        "epochs": table.valid_hits.shape[2],
        "accuracy_quantiles": _quantiles(mean),
        "one_training_and_another": noise_floor(valid.tolist()),
        "deviation_of_a_training": float(np.sqrt(valid.var(axis=1, ddof=1).mean())),
        "deviation_among_the_best_tenth": pooled_deviation(table),
        "validation_and_test": agreement(mean, test.mean(axis=1)),
        "int8_minus_float": {
            "mean": float((int8 - test).mean()),
            "worst": float((int8 - test).min()),
            "mean_absolute": float(np.abs(int8 - test).mean()),
        },
        "optimum": {device: _best(table, space, device) for device in BOARDS},
        "training_hours": float(table.seconds.sum()) / 3600,
        "costs": {name: _quantiles(column) for name, column in table.costs.items()},
        "made_by": dict(table.about),
    }
    plain = rounded(figures)
    assert isinstance(plain, dict)
    return plain


def _best(table: BenchTable, space: SearchSpace | None, device: str) -> Figures:
    """The optimum of the default reward on a device, and what random search leaves of it.

    The regret of random search is exact: N draws of all networks without replacement.
    """
    problem = Problem.make(space or table.about["space"], table.about["task"], device)
    measure = EvaluatorStack(
        [AnalyticEvaluator(problem.task, problem.device), BenchEvaluator(table, problem.device)]
    )
    found = optimum(problem, measure, table)
    rewards = np.sort([problem.reward(r)[0] for r in _measured(problem, measure)])
    return {
        "tokens": list(found.architecture.tokens),
        "reward": found.reward,
        "interval": list(found.interval),
        "accuracy": found.accuracy,
        "rivals": found.rivals,
        "networks": found.networks,
        "random_regret": {str(n): found.reward - highest_of(rewards, n) for n in DRAWS},
    }


def _measured(problem: Problem, measure: Evaluator) -> list[Measurement]:
    networks = list(problem.space.enumerate(problem.task, problem.automaton.budgets))
    results = [r for r in measure.evaluate(networks) if isinstance(r, Measurement)]
    return [result for result in results if not problem.budgets.broken(result)]


def highest_of(rewards: NDArray[np.float64], draws: int) -> float:
    """Expected highest of some rewards drawn without replacement, in closed form.

    Args:
        rewards: All of them, ascending, shape (N,).
        draws: How many are drawn, at most N.
    """
    count = len(rewards)
    below = np.arange(1, count + 1)
    log_share = gammaln(below + 1) - gammaln(np.maximum(below - draws, 0) + 1)
    share = np.where(below >= draws, np.exp(log_share - log_share[-1]), 0.0)  # all among the lowest
    return float((np.diff(share, prepend=0.0) * rewards).sum())


def _quantiles(values: NDArray[np.float64]) -> Figures:
    known = values[~np.isnan(values)]
    return {f"{100 * q:g} %": float(np.quantile(known, q)) for q in (0, 0.05, 0.5, 0.95, 1)}
