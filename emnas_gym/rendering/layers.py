"""Where the boxes of a network with branches stand: in columns, so that all wires lead right.

The way of Sugiyama, Tagawa and Toda (1981): a box stands one column beyond the last one that it
reads; a wire that passes a column has a place in it as well; places are ordered by those to which
they are wired, so that few wires cross.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field

from emnas_gym.rendering.boxes import Box

SWEEPS = 6  # in each direction


@dataclass
class Layers:
    """Places in columns; the first ones are the boxes, the others points of wires.

    Attributes:
        columns: Places of each column, from top to bottom.
        wires: For each wire the places that it joins, from left to right.
    """

    columns: list[list[int]]
    wires: list[list[int]]
    _height: dict[int, float] = field(default_factory=dict)

    @property
    def tallest(self) -> int:
        """Places of the column that has most."""
        return max(map(len, self.columns))

    def height(self, place: int) -> float:
        """Where a place stands in its column: 0 is the middle, 1 one place below."""
        if not self._height:
            for column in self.columns:
                middle = (len(column) - 1) / 2
                self._height |= {p: i - middle for i, p in enumerate(column)}
        return self._height[place]


def is_branched(drawn: Sequence[Box]) -> bool:
    """Whether some box reads other boxes than the one before it."""
    return any(box.reads != (i,) for i, box in enumerate(drawn[1:]))


def layers(drawn: Sequence[Box]) -> Layers:
    """Columns and wires of boxes that read earlier ones."""
    depth: list[int] = []
    for box in drawn:
        depth.append(1 + max((depth[i] for i in box.reads), default=-1))
    columns: list[list[int]] = [[] for _ in range(max(depth) + 1)]
    for place, column in enumerate(depth):
        columns[column].append(place)
    wires, count = [], len(drawn)
    for target, box in enumerate(drawn):
        for source in box.reads:
            between = range(depth[source] + 1, depth[target])
            points = list(range(count, count + len(between)))
            count += len(points)
            for column, point in zip(between, points, strict=True):
                columns[column].append(point)
            wires.append([source, *points, target])
    _order(columns, wires)
    return Layers(columns, wires)


def _order(columns: list[list[int]], wires: Sequence[Sequence[int]]) -> None:
    """Orders every column by the mean place of what it is wired to on one side, then the other."""
    before: dict[int, list[int]] = {}
    after: dict[int, list[int]] = {}
    for wire in wires:
        for left, right in itertools.pairwise(wire):
            before.setdefault(right, []).append(left)
            after.setdefault(left, []).append(right)
    for sweep in range(2 * SWEEPS):
        neighbours, order = (before, columns) if sweep % 2 == 0 else (after, columns[::-1])
        for fixed, column in itertools.pairwise(order):
            middle = (len(fixed) - 1) / 2
            height = {place: i - middle for i, place in enumerate(fixed)}
            column.sort(key=lambda place: _mean(height, neighbours.get(place, [])))


def _mean(height: dict[int, float], places: Sequence[int]) -> float:
    known = [height[place] for place in places]
    return sum(known) / len(known) if known else 0.0
