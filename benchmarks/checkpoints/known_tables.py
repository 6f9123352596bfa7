"""Tables by name, and the world that a search sees of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial

from benchmarks.checkpoints.protocol import World
from emnas_gym.errors import TableFileError
from emnas_gym.problem import Problem
from emnas_gym.table import Metric, Table
from emnas_gym.table_env import table_problem
from emnas_gym.table_evaluator import TableEvaluator
from emnas_gym.table_file import read_table
from predictors.table_convert import nb201_table

TABLES: dict[str, Callable[[], Table]] = {
    "nb201-cifar10": partial(nb201_table, "cifar10", ()),
    "nb201-cifar100": partial(nb201_table, "cifar100", ()),
}


@lru_cache(maxsize=8)
def open_world(world: World) -> tuple[Problem, TableEvaluator]:
    """The problem of a world, accuracy alone, and what looks it up; once a process.

    Networks of one class are told apart, as papers count them.

    Raises:
        TableFileError: If there is no such table, or it has no accuracies to report.
        DatasetError: If the files that it is made of are missing.
        UnknownName: If it has no such metric.
    """
    table = TABLES[world.table]() if world.table in TABLES else read_table(world.table)
    metric = world.metric or next(iter(table.metrics))
    if world.signal == "test" and metric in table.metrics:
        test = table.metrics[metric].test
        if not test.shape[1]:
            raise TableFileError(f"{world.table} has no column test/{metric} to be seen")
        table = replace(table, metrics={metric: Metric(test, test)})
    problem, evaluator = table_problem(table, metric, classes=False)
    if not evaluator.has_test:
        raise TableFileError(f"{world.table} has no column test/{metric} to report")
    return problem, evaluator
