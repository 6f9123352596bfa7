"""Which networks are held out: by architecture, the same ones whatever else the table holds."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
TEST_PERCENT = 15
SEED_RANDOM_STATE = 42  # of the original's train_test_split


def is_test(canonical: Sequence[int]) -> bool:
    """Whether a network is held out, decided by its canonical tokens alone.

    A table that grows keeps its test networks, and two networks of the same behaviour never stand
    on both sides.
    """
    digest = hashlib.sha256(" ".join(map(str, canonical)).encode()).digest()
    return int.from_bytes(digest[:4]) % 100 < TEST_PERCENT


def by_architecture(canonical: Sequence[Sequence[int]]) -> tuple[Indices, Indices]:
    """Indices of the training and of the test rows."""
    test = np.array([is_test(tokens) for tokens in canonical], dtype=bool)
    return np.flatnonzero(~test), np.flatnonzero(test)


def of_the_original(count: int) -> tuple[Indices, Indices]:
    """The original's split, `train_test_split(test_size=0.1, random_state=42)` in file order."""
    from sklearn.model_selection import train_test_split

    train, test = train_test_split(np.arange(count), test_size=0.1, random_state=SEED_RANDOM_STATE)
    return np.asarray(train), np.asarray(test)


def folds(count: int, parts: int = 5, seed: int = 0) -> Iterator[tuple[Indices, Indices]]:
    """Cross-validation: in turn every part is predicted from the others."""
    order = np.random.default_rng(seed).permutation(count)
    for part in np.array_split(order, parts):
        yield np.setdiff1d(order, part), np.sort(part)
