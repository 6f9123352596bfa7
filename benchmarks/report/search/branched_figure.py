"""A network with branches as a figure: columns of blocks, wires that lead right."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.report.charts import Layout, Mark
from emnas_gym.rendering.boxes import Box, shape_text
from emnas_gym.rendering.layers import layers

ROW, FOOT, READABLE = 34.0, 24, 30.0  # height of a place, of the names below; room for a name
CAPTION = (
    "A block is an operation and reads what its wires come from; wires lead from left to right. "
    "Pointing at a block tells its output shape, window /stride and activation."
)


def branched_layout(drawn: Sequence[Box], width: int) -> Layout:
    """The blocks of a network in columns.

    Args:
        drawn: Its boxes.
        width: Of the figure, in CSS pixels.
    """
    found = layers(drawn)
    wide, height = width / len(found.columns), ROW * found.tallest + FOOT
    middle = (height - FOOT) / 2
    at = {
        place: ((i + 0.5) * wide, middle + ROW * found.height(place))
        for i, column in enumerate(found.columns)
        for place in column
    }
    marks = [Mark("wire", _curve([at[place] for place in wire])) for wire in found.wires]
    for i, box in enumerate(drawn):
        marks += _block(box, at[i], 0.72 * wide)
    return Layout(width, height, tuple(marks))


def _curve(points: Sequence[tuple[float, float]]) -> str:
    """A wire that passes every point horizontally."""
    (x, y), *rest = points
    data = f"M{x:.1f} {y:.1f}"
    for after_x, after_y in rest:
        half = (x + after_x) / 2
        data += f"C{half:.1f} {y:.1f} {half:.1f} {after_y:.1f} {after_x:.1f} {after_y:.1f}"
        x, y = after_x, after_y
    return data


def _block(box: Box, centre: tuple[float, float], width: float) -> list[Mark]:
    """A block that tells what it is; beneath it the window where there is room."""
    (x, y), wide, tall = centre, min(width, 40.0), 0.38 * ROW
    activation = "" if box.activation == "none" else box.activation
    words = (box.label, shape_text(box.shape), box.window, activation)
    told = " · ".join(word for word in words if word)
    data = f"M{x - wide / 2:.1f} {y - tall / 2:.1f}h{wide:.1f}v{tall:.1f}h{-wide:.1f}z"
    name = box.window.replace(" ", "") or {"add": "+", "concat": "||"}.get(box.op, "")
    marks = [Mark(f"block {box.kind}", data, text=told)]
    if name and width >= READABLE:
        marks.append(Mark("tick middle", x=x, y=y + 0.45 * ROW, text=name))
    return marks
