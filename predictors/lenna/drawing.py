"""Which blocks are measured: drawn from a seed, so that row i is the same whoever measures it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from emnas_gym.errors import DatasetError
from predictors.lenna.columns import MOST_CHANNELS, offered, to_row
from predictors.lenna.gates import RATIOS, Array, draw_parameters, draw_ratio, softmax

TYPES = ("normal", "reduction")


@dataclass(frozen=True)
class Draw:
    """How rows are drawn.

    Attributes:
        seed: Decides all rows.
        channels: Least and largest number of channels, both included; each is as likely.
        chosen: Only these numbers of channels instead; none for the range.
        types: ``"normal"``, ``"reduction"``.
    """

    seed: int = 0
    channels: tuple[int, int] = (1, MOST_CHANNELS)
    chosen: tuple[int, ...] = ()
    types: tuple[str, ...] = TYPES

    def __post_init__(self) -> None:
        """Checks the wish.

        Raises:
            DatasetError: If it asks for no type, or channels that no block has.
        """
        if not self.types or set(self.types) - set(TYPES):
            raise DatasetError(f"block types are {', '.join(TYPES)}, not {self.types}")
        least, most = self.channels
        for channels in self.chosen or (least, most):
            if not 1 <= channels <= MOST_CHANNELS:
                raise DatasetError(f"a block has 1 to {MOST_CHANNELS} channels, not {channels}")
        if least > most:
            raise DatasetError(f"channels go up, not from {least} to {most}")

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        chosen = list(self.chosen) or [*self.channels]
        kind = "chosen" if self.chosen else "range"
        return {"seed": self.seed, "channels": {kind: chosen}, "types": list(self.types)}


@dataclass(frozen=True)
class DrawnRow:
    """One block to measure.

    Attributes:
        index: Of the row.
        reduction: Type of the block.
        channels: Of its input.
        ratio: Bound of its architecture parameters.
        probabilities: Their softmax, shape (15, 11): what gates are drawn from, and what is kept.
    """

    index: int
    reduction: bool
    channels: int
    ratio: float
    probabilities: Array

    @property
    def row(self) -> Array:
        """The 167 columns."""
        return to_row(self.reduction, self.channels, self.probabilities)


def draw_row(draw: Draw, index: int) -> tuple[DrawnRow, np.random.Generator]:
    """A row, and where the chance of its measurement comes from.

    Args:
        draw: How rows are drawn.
        index: Which, from 0.
    """
    rng = np.random.default_rng([draw.seed, index])
    reduction = draw.types[int(rng.integers(len(draw.types)))] == "reduction"
    if draw.chosen:
        channels = int(rng.choice(draw.chosen))
    else:
        channels = int(rng.integers(draw.channels[0], draw.channels[1] + 1))
    ratio = draw_ratio(rng)
    assert ratio in RATIOS
    probabilities = softmax(draw_parameters(rng, offered(reduction), ratio))
    probabilities.setflags(write=False)  # what is kept is what was drawn from
    return DrawnRow(index, reduction, channels, ratio, probabilities), rng
