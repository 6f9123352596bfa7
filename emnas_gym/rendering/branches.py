"""A network with branches, painted: columns of blocks with wires between them, and a legend."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from emnas_gym.graph import Shape
from emnas_gym.rendering.boxes import COLOURS, Box, shape_text
from emnas_gym.rendering.canvas import Canvas, Point, mix
from emnas_gym.rendering.layers import Layers, layers

LEGEND, HEAD = 30, 34  # pixels below and above the blocks
READABLE = 24  # width of a column from which its blocks have room for text
MUTED, WIRE, NEWEST = "#5c6b65", "#a9b6b0", "#b8551d"
SIGNS = {"add": "+", "mul": "×", "concat": "||", "slice": "slice", "mean": "mean"}


def paint_branches(
    canvas: Canvas, drawn: Sequence[Box], corner: Point, size: Point, newest: int | None
) -> None:
    """Paints boxes that branch.

    Args:
        canvas: What is painted on.
        drawn: The boxes.
        corner: Left and top edge of the room.
        size: Its width and height.
        newest: Index of the box that came last; None where the network is complete.
    """
    found = layers(drawn)
    wide = size[0] / max(len(found.columns), 8)
    tall = min((size[1] - LEGEND - HEAD) / max(found.tallest, 1), 56.0)
    middle = corner[1] + HEAD + (size[1] - LEGEND - HEAD) / 2
    at: dict[int, Point] = {
        place: (corner[0] + (i + 0.5) * wide, middle + tall * found.height(place))
        for i, column in enumerate(found.columns)
        for place in column
    }
    for wire in found.wires:
        canvas.line(_bent([at[place] for place in wire]), WIRE, 1.1)
    for i, box in enumerate(drawn):
        _paint_block(canvas, box, at[i], (0.74 * wide, 0.62 * tall), i == newest)
    _paint_shapes(canvas, drawn, found, at, corner[1])
    _paint_legend(canvas, drawn, (corner[0], corner[1] + size[1] - 12))


def _bent(points: Sequence[Point]) -> list[Point]:
    """A wire that leaves and enters its places horizontally."""
    found = [points[0]]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        for step in range(1, 9):
            share = step / 8
            slow = share * share * (3 - 2 * share)
            found.append((x0 + (x1 - x0) * share, y0 + (y1 - y0) * slow))
    return found


def _paint_block(canvas: Canvas, box: Box, centre: Point, room: Point, newest: bool) -> None:
    (x, y), fill = centre, COLOURS[box.kind]
    wide, tall = min(room[0], 64.0), min(room[1], 30.0)
    if newest:
        canvas.bar(x - wide / 2 - 2, y - tall / 2 - 2, wide + 4, tall + 4, NEWEST)
    canvas.bar(x - wide / 2, y - tall / 2, wide, tall, mix(fill, "#ffffff", 0.1))
    text = _sign(box)
    if wide >= 0.74 * READABLE and tall >= 10:
        size = min(8.0, wide / max(len(text), 1), 0.5 * tall)
        canvas.text(x, y + 0.36 * size, text, size, "#ffffff", bold=True, align="center")


def _sign(box: Box) -> str:
    """A few letters: the window where there is one, with a d if dilated; a sign for what joins."""
    if box.window:
        return box.window.replace(" ", "") + "d" * box.label.startswith("dilated")
    return SIGNS.get(box.op, box.label)


def _paint_shapes(
    canvas: Canvas, drawn: Sequence[Box], found: Layers, at: dict[int, Point], top: float
) -> None:
    """The shape above each column from which on it is another one."""
    last: Shape = ()
    free = 0.0
    for column in found.columns:
        first = next((place for place in column if place < len(drawn)), None)
        if first is None or drawn[first].shape == last:
            continue
        x, text = at[first][0], shape_text(drawn[first].shape)
        if x >= free:
            last, free = drawn[first].shape, x + 6.4 * len(text) + 12
            canvas.text(x, top + 18, text, 8.0, MUTED, align="center")


def _paint_legend(canvas: Canvas, drawn: Sequence[Box], corner: Point) -> None:
    x, y = corner
    for kind, label in dict.fromkeys((box.kind, box.label) for box in drawn):
        canvas.bar(x, y - 9, 11, 11, COLOURS[kind])
        canvas.text(x + 16, y, label, 8.0, MUTED)
        x += 16 + 6.4 * len(label) + 18
