"""Of each kind of layer its number, work, outputs and parameters: what latency models compare."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emnas_gym.architecture import Architecture
from emnas_gym.features import LAYER, layer_table
from emnas_gym.layers import KINDS
from emnas_gym.models.base import Array
from emnas_gym.tasks import Task

VERSION = 1  # changes with the meaning, number or order of the columns
AMOUNTS, ALONE = ("macs", "out", "params"), ("sigmoid", "kernel", "stride")
WIDTH = len(KINDS) * (1 + len(AMOUNTS)) + len(ALONE) + len(AMOUNTS) + 1


def kind_sums(batch: Sequence[Architecture], task: Task) -> Array:
    """Features of networks, shape (N, `WIDTH`); amounts are binary logarithms of sums.

    Args:
        batch: Architectures of one space, not empty.
        task: What they are for.

    Raises:
        ShapeError: If one of them cannot be built.
    """
    table = layer_table(batch[0].space, task)
    layers, lengths = table.gather([table.walk(a.canonical) for a in batch])
    present = (np.arange(layers.shape[1]) < lengths[:, None])[:, :, None]
    column = {name: i for i, name in enumerate(LAYER)}
    kinds = layers[:, :, [column[kind] for kind in KINDS]] * present
    amounts = 2.0 ** layers[:, :, [column[name] for name in AMOUNTS]]
    sums = np.einsum("nlk,nla->nka", kinds, amounts)
    alone = (layers[:, :, [column[name] for name in ALONE]] * present).sum(axis=1)
    total = np.log2(1 + (amounts * present).sum(axis=1))
    parts = [kinds.sum(axis=1), np.log2(1 + sums).reshape(len(batch), -1), alone, total]
    return np.concatenate([*parts, lengths[:, None].astype(float)], axis=1)
