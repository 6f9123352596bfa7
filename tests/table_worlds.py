"""Invented tables whose every value is known, small enough for brute force."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
from conftest import ByTokens

from emnas_gym.table import Metric, Table
from emnas_gym.table_file import write_table
from emnas_gym.tasks import Task

OPERATIONS = {"first": ("none", "conv"), "second": ("none", "conv", "pool"), "third": ("a", "b")}


def small_table(incomplete: bool = False, trials: int = 3, seed: int = 0) -> Table:
    """Twelve architectures of three positions, or nine of them.

    Nothing at the first position makes the last one useless: those rows are of one class.
    """
    rng = np.random.default_rng(seed)
    cells = list(itertools.product(*(range(len(names)) for names in OPERATIONS.values())))
    if incomplete:
        cells = [cells[i] for i in sorted(rng.choice(12, 9, replace=False))]
    count = len(cells)
    level = rng.permutation(np.linspace(0.2, 0.8, count))
    valid = level[:, None] + rng.uniform(-0.01, 0.01, (count, trials))
    test = level[:, None] + rng.uniform(-0.05, 0.05, (count, 2))
    known: dict[tuple[int, ...], int] = {}
    keys = [(a, b) if a == 0 else (a, b, c) for a, b, c in cells]
    edge = np.linspace(1.0, 2.0, count)
    edge[3] = np.nan
    return Table(
        name="small",
        task=Task("toy", (8, 8, 3), 4, has_images=False),
        operations=OPERATIONS,
        choices=np.array(cells),
        metrics={
            "long": Metric(valid, test, np.linspace(10.0, 20.0, count)),
            "short": Metric(valid[:, :1] / 2, np.zeros((count, 0))),
        },
        costs={
            "latency_ms/board": rng.uniform(1.0, 2.0, count),
            "latency_ms/edge": edge,
            "macs": 100.0 * np.arange(1, count + 1),
        },
        labels=np.array([known.setdefault(key, len(known)) for key in keys]),
        incomplete=incomplete,
        source="invented",
        licence="none",
    )


def long_table(positions: int = 9, share: float = 0.6, seed: int = 0) -> Table:
    """A part of the products of many positions: what is legal depends on all choices before.

    Later operations are better, and dearer.
    """
    rng = np.random.default_rng(seed)
    cells = np.array(list(itertools.product(range(3), repeat=positions)))
    cells = cells[rng.random(len(cells)) < share]
    level = 0.3 + 0.5 * cells.mean(axis=1) / 2
    return Table(
        name="long",
        task=Task("toy", (8, 8, 3), 4, has_images=False),
        operations={f"position-{i}": ("skip", "narrow", "wide") for i in range(positions)},
        choices=cells,
        metrics={"acc": Metric(level[:, None], np.zeros((len(cells), 0)))},
        costs={"macs": 100.0 * cells.sum(axis=1)},
        incomplete=True,
        source="invented",
        licence="none",
    )


TRAINED = ("EmNASCell-v0", "EmNASBlock-v0")  # ids whose default evaluator trains every network


def registered_keywords(name: str, folder: Path) -> dict[str, Any]:
    """What an id needs to be made here: a table to search, and no training."""
    if name in TRAINED:
        return {"evaluator": ByTokens()}
    if name != "EmNASTable-v0":
        return {}
    write_table(small_table(), folder / "small.npz")
    return {"table": str(folder / "small.npz")}
