"""What each operation of a block takes on a simulated device: from its name, its place, its width.

The law is that of a machine that starts kernels, multiplies and moves numbers, one after the
other. Its constants are round numbers that no device was asked for; only a dilated kernel's factor
is that of the look-up table in LENNA's code (250 to 200).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emnas_gym.errors import DatasetError
from predictors.lenna.gates import Array
from predictors.lenna.simulated import Edges

CONVOLUTION = re.compile(r"(\d+)x\1_(d?)Conv(DW)?")
POOL = re.compile(r"(\d+)x\1_(max|avg)pool")
IDENTITY = "Identity"


@dataclass(frozen=True)
class CostLaw:
    """Microseconds of one image.

    Attributes:
        start_us: Of each kernel that is started.
        mac_us: Of each multiply-accumulate.
        move_us: Of each element that is read or written once.
        dilated: Factor of the multiply-accumulates of a dilated kernel.
    """

    start_us: float = 5.0
    mac_us: float = 2e-4
    move_us: float = 1e-3
    dilated: float = 1.25


@dataclass(frozen=True)
class Place:
    """Where an operation stands.

    Attributes:
        channels: Of its input.
        side: Height and width of its input.
        shrinks: Whether it halves the map and doubles the channels.
    """

    channels: int
    side: int
    shrinks: bool = False

    @property
    def out_channels(self) -> int:
        """Channels of the output."""
        return self.channels * (2 if self.shrinks else 1)

    @property
    def read(self) -> int:
        """Elements of the input."""
        return self.channels * self.side**2

    @property
    def pixels(self) -> int:
        """Pixels of the output."""
        return (self.side // 2 if self.shrinks else self.side) ** 2


def operation_us(name: str, place: Place, law: CostLaw = CostLaw()) -> float:
    """What one operation takes; not a number for an identity that would have to shrink its map.

    Convolutions are dense or depthwise and pointwise; a pool that shrinks has a pointwise
    convolution behind it for its channels.

    Args:
        name: ``3x3_Conv``, ``5x5_dConvDW`` (dilated, separable), ``3x3_maxpool``, ``Identity``, ….
        place: Where it stands.
        law: Of the device.

    Raises:
        DatasetError: If no such operation is known.
    """
    if name == IDENTITY:
        return np.nan if place.shrinks else law.start_us + 2 * law.move_us * place.read
    found = CONVOLUTION.fullmatch(name)
    if found:
        return _convolution(int(found[1]), bool(found[2]), bool(found[3]), place, law)
    found = POOL.fullmatch(name)
    if not found:
        raise DatasetError(
            f"no operation {name!r}; they look like 3x3_Conv, 3x3_dConvDW, 3x3_maxpool, {IDENTITY}"
        )
    window = 2 if place.shrinks else int(found[1])
    pooled = place.channels * place.pixels
    us = law.start_us + law.move_us * (pooled * window**2 + pooled)
    return us + (_pointwise(place, law) if place.shrinks else 0.0)


def block_table(
    operations: Sequence[str],
    edges: Edges,
    *,
    reduction: bool,
    channels: int,
    side: int = 32,
    law: CostLaw = CostLaw(),
) -> Array:
    """What every operation takes on every edge of a block.

    In a reduction block the edges that leave its input, node 0, halve the map and double the
    channels; all others work on what these leave.

    Args:
        operations: Names of the columns.
        edges: (from, to) of the rows.
        reduction: Type of the block.
        channels: Of its input, at least 1.
        side: Height and width of its input, even.
        law: Of the device.

    Returns:
        Microseconds, shape (edges, operations); not a number where an edge has no such operation.

    Raises:
        DatasetError: If channels or side are no such numbers, or an operation is unknown.
    """
    if channels < 1 or side < 2 or side % 2:
        raise DatasetError(f"a block has channels and an even side, not {channels} and {side}")
    first = Place(channels, side, shrinks=reduction)
    later = Place(2 * channels, side // 2) if reduction else first
    rows = [
        [operation_us(name, later if begin else first, law) for name in operations]
        for begin, _ in edges
    ]
    return np.array(rows, dtype=np.float64)


def _convolution(kernel: int, dilated: bool, separable: bool, place: Place, law: CostLaw) -> float:
    factor = law.mac_us * (law.dilated if dilated else 1.0)
    if not separable:
        macs = kernel**2 * place.channels * place.out_channels * place.pixels
        return law.start_us + factor * macs + law.move_us * (place.read + _written(place))
    between = place.channels * place.pixels
    depthwise = law.start_us + factor * kernel**2 * between + law.move_us * (place.read + between)
    return depthwise + _pointwise(place, law)


def _pointwise(place: Place, law: CostLaw) -> float:
    macs = place.channels * place.out_channels * place.pixels
    moved = place.channels * place.pixels + _written(place)
    return law.start_us + law.mac_us * macs + law.move_us * moved


def _written(place: Place) -> int:
    return place.out_channels * place.pixels
