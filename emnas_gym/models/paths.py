"""Path encoding: which short stretches of layers a network has, hashed to a fixed width.

White et al. 2019 ("BANANAS", arXiv:1910.11858) note for every path from the input of a cell to its
output whether it is there, and keep the short ones. A chain has one path only; what is short in it
are stretches of one to three layers, the beginning of the network being one of them. Layers are
named twice: by their exact behaviour, and by kind, window and activation alone, so that layers
that differ in their number of filters share a column. Columns are found by a checksum, so that
spaces of any size fit, at the price that some stretches share one.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from emnas_gym.architecture import Architecture
from emnas_gym.grammar import Grammar
from emnas_gym.layers import LayerSpec
from emnas_gym.models.base import Array

VERSION = 1  # changes with the meaning or number of the columns
WIDTH = 1024
LONGEST = 3  # layers of a stretch
BEGIN = "begin"


def paths(batch: Sequence[Architecture]) -> Array:
    """Which stretches each network has, zeros and ones of shape (N, `WIDTH`).

    Args:
        batch: Architectures of one space; those that behave alike have equal rows.
    """
    rows = np.zeros((len(batch), WIDTH))
    for row, architecture in zip(rows, batch, strict=True):
        exact, coarse = _names(architecture.space)
        for names in (exact, coarse):
            row[_columns((BEGIN, *(names[token] for token in architecture.canonical)))] = 1.0
    return rows


def _columns(names: tuple[str, ...]) -> list[int]:
    stretches = {
        names[first : first + size]
        for size in range(1, LONGEST + 1)
        for first in range(len(names) - size + 1)
    }
    return [_column(stretch) for stretch in stretches]


@lru_cache(maxsize=1 << 16)
def _column(stretch: tuple[str, ...]) -> int:
    return zlib.crc32(" → ".join(stretch).encode()) % WIDTH


@lru_cache(maxsize=32)
def _names(space: Grammar) -> tuple[list[str], list[str]]:
    """For every id its exact and its coarse name."""
    exact = ["", *(f"{token} {spec}" for token, spec in enumerate(space.specs, 1))]
    return exact, ["", *(_coarse(spec) for spec in space.specs)]


def _coarse(spec: LayerSpec) -> str:
    return f"{spec.kind} {spec.kernel}/{spec.stride} {spec.padding} {spec.activation}"
