"""Spaces of cells and images so small that a supernet is trained in a moment."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.problem import Problem
from emnas_gym.space import load_space
from predictors.datasets import load

CELL = """
form = "cells"
name = "small-cell"
share = "all"
[stem]
channels = 4
[[stages]]
channels = 4
cells = 1
[cells.normal]
edges = [[0, 1], [0, 2], [1, 2]]
operations = [{}]
"""
FREE = """
form = "cells"
name = "small-free"
share = "all"
[stem]
channels = 4
[[stages]]
channels = 2
cells = 1
[[stages]]
channels = 4
cells = 1
join = "reduction"
[cells.normal]
nodes = 2
operations = ["skip", "sep3x3", "max_pool3x3"]
[cells.reduction]
nodes = 2
operations = ["skip", "sep3x3", "max_pool3x3"]
"""
OPERATIONS = ("none", "skip", "conv1x1")
IMAGES = 8  # height and width


def cell_space(folder: Path, operations: tuple[str, ...] = OPERATIONS) -> CellSpace:
    """Three edges with the operations on each."""
    return _written(folder, CELL.format(", ".join(f'"{name}"' for name in operations)))


def free_space(folder: Path) -> CellSpace:
    """A normal and a reduction cell of two nodes that choose what they read."""
    return _written(folder, FREE)


def _written(folder: Path, text: str) -> CellSpace:
    path = folder / f"space-{len(list(folder.glob('space-*')))}.toml"  # a path is read once
    path.write_text(text, encoding="utf-8")
    space = load_space(path)
    assert isinstance(space, CellSpace)
    return space


def images(folder: Path, a_class: int = 16, classes: int = 3) -> str:
    """Path of a file of images: a bright bar in the place of its class, and noise."""
    path = folder / "images.npz"
    rng = np.random.default_rng(0)
    y = np.repeat(np.arange(classes), a_class)
    x = rng.uniform(0, 0.6, (len(y), IMAGES, IMAGES))
    for i, label in enumerate(y):
        x[i, :, 2 * label : 2 * label + 2] += 0.4
    np.savez(path, x=x, y=y)
    return str(path)


def small_problem(folder: Path, space: CellSpace | None = None) -> Problem:
    """A problem of few networks and few images, without limits."""
    task = load(images(folder)).task
    return Problem.make(space or cell_space(folder), task, budgets={})
