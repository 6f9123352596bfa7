"""Our own table of chains of layers as a table of positions and operations."""

from __future__ import annotations

import numpy as np

from emnas_gym.bench_file import BenchTable
from emnas_gym.space import load_space
from emnas_gym.table import Metric, Table
from emnas_gym.tasks import TASKS, Task

NONE = "none"  # no layer here: the network ended before


def bench_as_table(bench: BenchTable) -> Table:
    """A position is a layer of the chain; those after the last layer have the operation ``none``.

    Not every combination is a network (a layer after ``none``, a convolution after a dense layer):
    the table is incomplete, and the masks keep to what exists. The int8 file's accuracy is a metric
    of its own, whose test report it is.

    Args:
        bench: The trainings.

    Raises:
        UnknownName: If its space is none of ours.
    """
    about = bench.about
    space = load_space(about["space"])
    chains = [[t for t in tokens if t != space.end_token] for tokens in bench.networks()]
    length = max(map(len, chains))
    padded = np.array([chain + [0] * (length - len(chain)) for chain in chains], dtype=np.int64)
    operations, choices = {}, np.zeros_like(padded)
    for position in range(length):
        tokens, choices[:, position] = np.unique(padded[:, position], return_inverse=True)
        names = tuple(space.describe(int(t)) if t else NONE for t in tokens)
        operations[f"layer {position + 1}"] = names
    seconds = bench.seconds.mean(axis=1).astype(np.float64)
    return Table(
        name=f"{about['space']}-table",
        task=TASKS.get(about["task"]) or Task(about["task"], (1, 1, 1), 2, has_images=False),
        operations=operations,
        choices=choices,
        metrics={
            "accuracy": Metric(bench.valid_accuracy, bench.test_accuracy, seconds),
            "int8": Metric(bench.valid_accuracy, bench.int8_accuracy, seconds),
        },
        costs=dict(bench.costs),
        incomplete=True,
        source=str(about.get("command", "")),
    )
