"""The learning curves of the committed table, held out by architecture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from emnas_gym.space import SearchSpace
from emnas_gym.tasks import Task
from emnas_gym.token_space import TokenSpace
from predictors.proxies.curve_features import describe
from predictors.splits import is_test
from predictors.store import Tokens, Training
from predictors.tables import packed_path, read_header, unpack
from predictors.training import Recipe

Array = NDArray[np.float64]


@dataclass(frozen=True)
class KnownCurves:
    """Whole curves of distinct networks, one training each.

    Attributes:
        networks: Their tokens.
        curves: (N, epochs) validation accuracies.
        described: (N, F) architectures and recipe.
    """

    networks: tuple[Tokens, ...]
    curves: Array
    described: Array

    def part(self, rows: Sequence[int] | NDArray[np.int64]) -> KnownCurves:
        """Some of them."""
        chosen = np.asarray(rows, dtype=np.int64)
        networks = tuple(self.networks[i] for i in chosen)
        return KnownCurves(networks, self.curves[chosen], self.described[chosen])


def has_curves(space: TokenSpace, task: Task, recipe: Recipe) -> bool:
    """Whether the committed table was made in this space, on this task, by this recipe.

    Raises:
        StoreError: If its file is damaged.
    """
    path = packed_path(space.name, task.name)
    if not path.is_file():
        return False
    about = read_header(path)["about"]
    asked = (space.fingerprint, task.name, recipe.to_json())
    return (about["space"], about["task"], json.loads(about["recipe"])) == asked


@lru_cache(maxsize=4)
def known_curves(space: SearchSpace, task: Task, test: bool = False) -> KnownCurves:
    """First trainings of the networks of the training part, or of the test part.

    Raises:
        StoreError: If there is no table of this space and task, or it is damaged.
    """
    first: dict[Tokens, Training] = {}
    for row in unpack(packed_path(space.name, task.name)).trainings:
        if is_test(space.canonical_tokens(row.tokens)) == test:
            first.setdefault(row.tokens, row)
    graphs = [space.build(tokens, task) for tokens in first]
    curves = np.array([row.curve for row in first.values()])
    return KnownCurves(tuple(first), curves, describe(graphs, Recipe()))
