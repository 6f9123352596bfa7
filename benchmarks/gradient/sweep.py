"""The sweep of λ: searches with more and more latency in the loss, and what comes of them.

Every search ends in a genotype, which is trained from scratch with several seeds, exported as int8
and measured on the target whose table stood in the loss. What one search found is one file, so that
a sweep goes on wherever it was interrupted.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from agents.runs import make_agent
from benchmarks.gradient.on_target import measured_us
from benchmarks.suites.folder import read_json, write_json
from benchmarks.versions import versions
from benchmarks.winners.deliver import quantise
from emnas_gym.architecture import Architecture
from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.errors import EvaluationError, StoreError, UnknownName
from emnas_gym.ledger import Ledger
from emnas_gym.problem import Problem
from emnas_gym.space import resolve_space
from predictors.datasets import Dataset, load
from predictors.lenna.latency_table import LatencyTable
from predictors.lenna.make_table import make_table
from predictors.lenna.targets import target_names
from predictors.trained import TrainedEvaluator
from predictors.training import TrainingResult, train
from predictors.workers import ended_on_error, make_pool

MOST = 200  # evaluations that a search may cost at most


@dataclass(frozen=True)
class Sweep:
    """What is swept.

    Attributes:
        agent: A search by gradient, by name.
        options: Its hyperparameters that differ from the defaults.
        space: A space of cells.
        task: Name of a task with images, or a path to some.
        target: On what latency is tabulated and measured: `predictors.lenna.targets`.
        weights: λ, ascending; the first is 0, the plain search.
        seeds: Searches of each.
        trainings: Seeds with which every genotype is trained.
    """

    agent: str = "gdas"
    options: Mapping[str, Any] = field(default_factory=dict)
    space: str = "nb201-cell"
    task: str = "digits"
    target: str = "ethos-u55-128"
    weights: tuple[float, ...] = (0.0, 0.1, 0.3, 1.0, 3.0)
    seeds: int = 5
    trainings: int = 3

    def check(self) -> None:
        """Checks what can be checked before anything is measured.

        Raises:
            EvaluationError: If weights or counts make no sweep.
            UnknownName: If there is no such target.
        """
        rising = all(a < b for a, b in itertools.pairwise(self.weights))
        if len(self.weights) < 2 or self.weights[0] != 0 or not rising:
            raise EvaluationError(f"weights begin with 0 and ascend, unlike {self.weights}")
        if self.seeds < 2 or self.trainings < 1:
            raise EvaluationError("a sweep has two seeds or more, and one training or more of each")
        if self.target.partition("/")[0] not in target_names():
            raise UnknownName("target", self.target, target_names())

    def to_json(self) -> dict[str, Any]:
        """The fields as plain data, as a file has them."""
        return asdict(self) | {"options": dict(self.options), "weights": list(self.weights)}

    def cell_space(self) -> CellSpace:
        """The space.

        Raises:
            EvaluationError: If it is no space of cells.
        """
        found = resolve_space(self.space)
        if not isinstance(found, CellSpace):
            raise EvaluationError(f"{found.name} is no space of cells: a sweep needs edges")
        return found


def run_sweep(
    sweep: Sweep, folder: Path, workers: int, advance: Callable[[], None]
) -> dict[str, Any]:
    """Runs what is not there yet, and tells all that is.

    Args:
        sweep: What is swept.
        folder: Where its files are.
        workers: Parallel searches, one thread each.
        advance: Called after each search, those that are there already included.

    Returns:
        ``sweep``, ``table`` (how well sums of operations hold), ``runs`` and ``versions``.

    Raises:
        StoreError: If the folder is of another sweep, or a file is damaged.
        EmNASError: For whatever the parts raise; what was measured is kept.
    """
    sweep.check()
    _claim(sweep, folder)
    table = _table(sweep, folder)
    jobs = [(weight, seed) for seed in range(sweep.seeds) for weight in sweep.weights]
    todo = [job for job in jobs if read_json(_path(folder, *job)) is None]
    for _ in range(len(jobs) - len(todo)):
        advance()
    if workers == 1:
        for job in todo:
            run_one(sweep, folder, *job)
            advance()
    elif todo:
        pool = make_pool(min(workers, len(todo)), _start, ())
        with ended_on_error(pool):
            running = [pool.submit(run_one, sweep, folder, *job) for job in todo]
            for done in as_completed(running):
                done.result()
                advance()
        pool.shutdown()
    runs = [read_json(_path(folder, *job)) for job in jobs]
    return {
        "sweep": sweep.to_json(),
        "table": dict(table.about),
        "runs": [run for run in runs if run is not None],
        "versions": versions(),
    }


def _start() -> None:
    """Workers need nothing of their own: a job says all."""


def _claim(sweep: Sweep, folder: Path) -> None:
    path, wanted = folder / "sweep.json", sweep.to_json()
    known = read_json(path)
    if known is None:
        write_json(path, wanted)
    elif _but_amounts(known) != _but_amounts(wanted):
        raise StoreError(
            f"{folder} holds another sweep ({known}); choose another --out, or remove it"
        )


def _but_amounts(described: Mapping[str, Any]) -> dict[str, Any]:
    """A sweep may grow: weights and seeds are added to what is there."""
    return {key: value for key, value in described.items() if key not in ("weights", "seeds")}


def _table(sweep: Sweep, folder: Path) -> LatencyTable:
    path = folder / "table.json"
    if not path.exists():
        task = load(sweep.task).task
        make_table(sweep.cell_space(), sweep.target, task).save(path)
    return LatencyTable.load(path)


def _path(folder: Path, weight: float, seed: int) -> Path:
    return folder / f"weight-{weight:g}" / f"seed-{seed}.json"


def run_one(sweep: Sweep, folder: Path, weight: float, seed: int) -> None:
    """One search, and what its genotype is worth.

    Args:
        sweep: What is swept.
        folder: Where its files are.
        weight: λ.
        seed: Of the search.

    Raises:
        EvaluationError: If the search makes no genotype, or the target cannot run it.
    """
    start, data, space = time.perf_counter(), load(sweep.task), sweep.cell_space()
    path = _path(folder, weight, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    table = LatencyTable.load(folder / "table.json")
    architecture, told = _search(sweep, data, weight, seed, folder / "table.json")
    graph = architecture.graph(data.task)
    results = [train(graph, data, s) for s in range(sweep.trainings)]
    best = max(results, key=lambda result: result.valid_accuracy)
    files = quantise(architecture, best.weights, data)
    measured = measured_us(sweep.target, graph, files.content)
    write_json(
        path,
        {
            "weight": weight,
            "seed": seed,
            "tokens": list(architecture.tokens),
            "words": list(architecture.words),
            "predicted": table.total(space, architecture),
            "measured": measured,
            **_accuracies(results),
            "int8": files.int8_accuracy,
            **told,
            "seconds": time.perf_counter() - start,
        },
    )


def _accuracies(results: list[TrainingResult]) -> dict[str, list[float]]:
    return {
        "valid": [result.valid_accuracy for result in results],
        "test": [result.test_accuracy for result in results],
    }


def _search(
    sweep: Sweep, data: Dataset, weight: float, seed: int, table: Path
) -> tuple[Architecture, dict[str, Any]]:
    """The genotype of one search, and what the search told of itself."""
    options = dict(sweep.options) | {
        "latency_weight": weight,
        "latency_target": str(table),
        "searches": 1,
    }
    agent = make_agent(sweep.agent, **options)
    problem = Problem.make(space=sweep.cell_space(), task=data.task, budgets={})
    ledger = Ledger(TrainedEvaluator(data, workers=1), problem, MOST)
    try:
        agent.search(problem, ledger, seed)
        traces = [numbers for _, numbers in ledger.history.traces()]
        if not ledger.rows:
            raise EvaluationError(f"{sweep.agent} with λ = {weight:g} made no genotype")
        architecture = problem.space.architecture(ledger.rows[-1].tokens)
        told = {
            "equivalents": ledger.charged,
            "search_seconds": float(np.sum([charge.seconds for charge in ledger.charges])),
            "traces": traces,
        }
    finally:
        ledger.close()
    return architecture, told
