"""Stand-alone trainings that shared weights are held against, each stored as it finishes."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from emnas_gym.branched.cell_space import CellSpace
from emnas_gym.errors import EmNASError
from predictors.datasets import Dataset
from predictors.proxies.measured import MeasuredLines, Values
from predictors.supernet.sampling import uniform
from predictors.training import Recipe, train

Tokens = tuple[int, ...]
EXHAUSTED = 2000  # repeats in a row after which a small space counts as drawn


def uniform_networks(space: CellSpace, count: int, seed: int = 0) -> list[Tokens]:
    """Distinct canonical networks of uniform choices; more of them begin with the same ones.

    Raises:
        EmNASError: If the space has not so many.
    """
    rng, repeats = np.random.default_rng(seed), 0
    found: dict[Tokens, None] = {}
    while len(found) < count:
        tokens = space.canonical_tokens(uniform(space, rng)[0])
        repeats = repeats + 1 if tokens in found else 0
        found[tokens] = None
        if repeats > EXHAUSTED:
            raise EmNASError(f"{space.name} gave {len(found)} distinct networks, not {count}")
    return list(found)


def stand_alone(
    space: CellSpace,
    data: Dataset,
    recipe: Recipe,
    tokens: Sequence[int],
    seed: int,
    known: MeasuredLines,
) -> Values:
    """What one training from scratch measures; from the store if it is there.

    Returns:
        ``valid`` and ``test`` accuracy, ``seconds`` of processor time on one thread, ``images``
        trained on; or ``error``.
    """

    def measure() -> Values:
        start = time.process_time()
        result = train(space.build(tokens, data.task), data, seed, recipe)
        return {
            "valid": result.valid_accuracy,
            "test": result.test_accuracy,
            "seconds": time.process_time() - start,
            "images": result.images,
        }

    return known.get(f"stand-alone {seed}", tokens, measure)
