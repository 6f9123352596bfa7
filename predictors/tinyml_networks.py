"""Multiply-accumulates of the four reference networks of MLPerf Tiny, layer by layer."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np

# Convolutions (rows, columns, kernel elements, in, out) and dense layers (1, 1, 1, in, out) of the
# four reference networks, github.com/mlcommons/tiny/tree/v1.1/benchmark/training.
Layer = tuple[int, int, int, int, int]


def _resnet8() -> list[Layer]:
    layers: list[Layer] = [(32, 32, 9, 3, 16), (32, 32, 9, 16, 16), (32, 32, 9, 16, 16)]
    for side, channels in ((16, 32), (8, 64)):
        before = channels // 2
        layers += [(side, side, 9, before, channels), (side, side, 9, channels, channels)]
        layers += [(side, side, 1, before, channels)]
    return [*layers, (1, 1, 1, 64, 10)]


def _mobilenet_quarter() -> list[Layer]:
    layers: list[Layer] = [(48, 48, 9, 3, 8)]
    side, channels = 48, 8
    steps = [
        (1, 16),
        (2, 32),
        (1, 32),
        (2, 64),
        (1, 64),
        (2, 128),
        *[(1, 128)] * 5,
        (2, 256),
        (1, 256),
    ]
    for stride, filters in steps:
        side //= stride
        layers += [(side, side, 9, 1, channels), (side, side, 1, channels, filters)]
        channels = filters
    return [*layers, (1, 1, 1, channels, 2)]


def _ds_cnn() -> list[Layer]:
    block: list[Layer] = [(25, 5, 9, 1, 64), (25, 5, 1, 64, 64)]
    return [(25, 5, 40, 1, 64), *block * 4, (1, 1, 1, 64, 12)]


def _autoencoder() -> list[Layer]:
    widths = (640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640)
    return [(1, 1, 1, a, b) for a, b in itertools.pairwise(widths)]


def _macs(layers: Iterable[Layer]) -> int:
    return int(sum(np.prod(layer) for layer in layers))


MACS = {
    "ad": _macs(_autoencoder()),
    "ic": _macs(_resnet8()),
    "kws": _macs(_ds_cnn()),
    "vww": _macs(_mobilenet_quarter()),
}
