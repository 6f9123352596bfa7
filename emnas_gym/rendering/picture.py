"""A scene as pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emnas_gym.graph import GraphBuilder
from emnas_gym.rendering.boxes import COLOURS, Box, boxes, shape_text
from emnas_gym.rendering.branches import paint_branches
from emnas_gym.rendering.canvas import Canvas, Point, mix
from emnas_gym.rendering.gauges import quantity
from emnas_gym.rendering.layers import is_branched
from emnas_gym.rendering.scene import Scene
from emnas_gym.rendering.text import best_so_far, describe_task, progress, short, words

SIZE = (1280, 720)  # pixels
MARGIN = 44
NETWORK = (84, 494)  # top and bottom of the layers
FOOT = 528  # top of the gauges
SPLIT = 812  # left edge of the result
ONE_ROW, MORE_ROWS = 16, 12  # layers that stay readable side by side
INK, MUTED, FAINT, LINE = "#13221c", "#5c6b65", "#a9b6b0", "#d9e1dd"
GROUND, PANEL, GOOD, OVER, ACCENT = "#f6f8f7", "#ffffff", "#14805f", "#c8322b", "#b8551d"
BAR = "#2c6fb3"


def render_rgb(scene: Scene) -> NDArray[np.uint8]:
    """The scene as pixels, shape (720, 1280, 3).

    Raises:
        DependencyNotInstalled: If matplotlib is missing.
    """
    canvas = Canvas(*SIZE, GROUND)
    _paint_head(canvas, scene)
    _paint_network(canvas, scene)
    _paint_gauges(canvas, scene)
    _paint_result(canvas, scene)
    return canvas.pixels()


def _paint_head(canvas: Canvas, scene: Scene) -> None:
    canvas.text(MARGIN, 48, short(scene.problem.space.name, 30), 17, bold=True)
    where = f"{describe_task(scene.problem, 40)}, on {short(scene.problem.device.title, 50)}"
    canvas.text(MARGIN, 70, where, 10, MUTED)
    right = SIZE[0] - MARGIN
    done = f"{len(scene.tokens)} {words(scene)}, complete"
    canvas.text(right, 48, done if scene.finished else progress(scene), 13, align="right")
    canvas.text(right, 70, short(_last_layer(scene), 50), 10, MUTED, align="right")


def _last_layer(scene: Scene) -> str:
    if not scene.tokens or not scene.tokens[-1]:
        return "no layer yet"
    return f"last: {scene.problem.space.describe(scene.tokens[-1])}"


@dataclass(frozen=True)
class _Grid:
    """Where the layers stand: slots side by side, in as many rows as keep them readable."""

    slots: int

    @property
    def rows(self) -> int:
        return 1 if self.slots <= ONE_ROW else -(-self.slots // MORE_ROWS)

    @property
    def columns(self) -> int:
        return -(-self.slots // self.rows)

    @property
    def width(self) -> float:
        return (SIZE[0] - 2 * MARGIN) / max(self.columns, 8)

    @property
    def height(self) -> float:
        return (NETWORK[1] - NETWORK[0]) / self.rows

    @property
    def room(self) -> Point:
        """Largest width and height of a box's front."""
        return 0.42 * min(self.width, 84), min(self.height - self.text_height - 22, 260)

    @property
    def text_height(self) -> float:
        """Four lines under every box."""
        return 80.0 if self.rows == 1 else 58.0

    def centre(self, slot: int) -> Point:
        row, column = divmod(slot, self.columns)
        left = MARGIN + (column + 0.5) * self.width
        return left, NETWORK[0] + row * self.height + (self.height - self.text_height) / 2 + 4

    def caption(self, slot: int) -> float:
        """Where the text under a slot begins."""
        return NETWORK[0] + (slot // self.columns + 1) * self.height - self.text_height + 14


def _slots(scene: Scene) -> int:
    """Room for the input, all layers that may come, and what the output adds to its own."""
    space = scene.problem.space
    if not space.end_token:
        return len(scene.boxes)
    builder = GraphBuilder((1, 1, 1))
    space.spec(space.end_token).lower(builder, scene.problem.task.classes)
    output = len(boxes(builder.build())) - 1
    return max(scene.problem.max_layers + output, len(scene.boxes))


def _paint_network(canvas: Canvas, scene: Scene) -> None:
    drawn = scene.boxes
    canvas.bar(0, NETWORK[0], SIZE[0], NETWORK[1] - NETWORK[0], PANEL, behind=True)
    grid = _Grid(_slots(scene))
    side = max((s for box in drawn if box.is_map for s in box.shape[:2]), default=1)
    if scene.graph is None:
        canvas.text(SIZE[0] / 2, 290, "these layers do not fit together", 13, OVER, align="center")
    if not scene.finished:
        ghosts = [grid.centre(slot) for slot in range(len(drawn), grid.slots)]
        canvas.dots(ghosts or [(-9, -9)], LINE, 6)
    if is_branched(drawn):
        newest = None if scene.finished else len(drawn) - 1
        corner, size = (MARGIN, NETWORK[0]), (SIZE[0] - 2 * MARGIN, NETWORK[1] - NETWORK[0])
        paint_branches(canvas, drawn, corner, size, newest)
        return
    _paint_wires(canvas, grid, drawn)
    for slot, box in enumerate(drawn):
        newest = slot == len(drawn) - 1 and not scene.finished and slot > 0
        _paint_box(canvas, grid, slot, box, side)
        _paint_caption(canvas, grid, slot, box, newest)


def _paint_wires(canvas: Canvas, grid: _Grid, drawn: Sequence[Box]) -> None:
    for slot, box in enumerate(drawn):
        for source in box.reads:
            (x0, y0), (x1, y1) = grid.centre(source), grid.centre(slot)
            if slot - source > 1:
                canvas.arc((x0, y0 - 40), (x1, y1 - 40), FAINT)
            elif y0 == y1:
                canvas.line([(x0, y0), (x1, y1)], FAINT, 1.2)
            else:
                canvas.line([(x0, y0), (x0 + grid.width / 2, y0)], FAINT, 1.2)
                canvas.line([(x1 - grid.width / 2, y1), (x1, y1)], FAINT, 1.2)


def _paint_box(canvas: Canvas, grid: _Grid, slot: int, box: Box, side: int) -> None:
    """A map as a block, seen from the left front; a vector as a bar."""
    x, y = grid.centre(slot)
    wide, tall, deep = box.extent(side)
    room_w, room_h = grid.room
    width, height = max(wide * room_w, 9.0), max(tall * room_h, 4.0)
    shift = deep * min(0.36 * grid.width, 30.0)
    lean = 0.6 * shift
    left, top = x - (width + shift) / 2, y - (height - lean) / 2
    right, bottom = left + width, top + height
    fill = COLOURS[box.kind]
    front = [(left, top), (right, top), (right, bottom), (left, bottom)]
    roof = [(left, top), (left + shift, top - lean), (right + shift, top - lean), (right, top)]
    flank = [(right, top), (right + shift, top - lean), (right + shift, bottom - lean)]
    if box.is_map:
        canvas.polygon(roof, mix(fill, "#ffffff", 0.35), PANEL)
        canvas.polygon([*flank, (right, bottom)], mix(fill, "#000000", 0.25), PANEL)
    canvas.polygon(front, fill, PANEL)


def _paint_caption(canvas: Canvas, grid: _Grid, slot: int, box: Box, newest: bool) -> None:
    x, y = grid.centre(slot)[0], grid.caption(slot)
    size, step = (8.0, 15) if grid.rows == 1 else (7.8, 12.5)
    fill = mix(COLOURS[box.kind], "#000000", 0.2)
    if newest:
        canvas.bar(x - 0.44 * grid.width, y - 17, 0.88 * grid.width, 2.5, ACCENT)
    lines = [shape_text(box.shape), box.window, "" if box.activation == "none" else box.activation]
    canvas.text(x, y, box.label, size, fill, bold=True, align="center")
    for i, line in enumerate([line for line in lines if line]):
        colour = INK if i == 0 else MUTED
        canvas.text(x, y + step * (i + 1), line, size, colour, align="center")


def _paint_gauges(canvas: Canvas, scene: Scene) -> None:
    left, right = MARGIN + 74, SPLIT - 264
    for i, gauge in enumerate(scene.gauges):
        y = FOOT + 14 + min(40, 170 / len(scene.gauges)) * i
        scale = (right - left) / gauge.full
        fill = OVER if gauge.over else GOOD if gauge.limit is not None else BAR
        canvas.text(MARGIN, y + 12, gauge.title, 11, bold=True)
        canvas.bar(left, y, right - left, 15, LINE)
        canvas.bar(left, y, scale * (gauge.value or 0.0), 15, fill)
        if gauge.before is not None and (gauge.value or 0.0) > gauge.before:
            last = scale * ((gauge.value or 0.0) - gauge.before)
            canvas.bar(left + scale * gauge.before, y, last, 15, mix(fill, "#ffffff", 0.42))
        if gauge.mark is not None:
            ink = FAINT if gauge.limit is None else INK
            canvas.bar(left + scale * gauge.mark - 1, y - 5, 2.4, 25, ink)
        canvas.text(right + 16, y + 12, gauge.text, 11, OVER if gauge.over else INK, bold=True)
        canvas.text(right + 118, y + 12, gauge.limit_text, 10, MUTED)


def _paint_result(canvas: Canvas, scene: Scene) -> None:
    low, _ = scene.problem.reward.range
    if scene.reward is not None:
        colour = OVER if scene.reward < low else INK
        canvas.text(SPLIT, FOOT + 38, f"{scene.reward:.3f}", 27, colour, bold=True)
        canvas.text(SPLIT, FOOT + 58, f"reward, {scene.problem.reward.name}", 9.5, MUTED)
    else:
        state = "measuring" if scene.finished else "growing"
        canvas.text(SPLIT, FOOT + 38, state, 20, FAINT, bold=True)
        canvas.text(SPLIT, FOOT + 58, "the reward comes with the output layer", 9.5, MUTED)
    known = scene.measurement
    if known is not None and known.accuracy is not None:
        text = quantity("accuracy", known.accuracy)
        canvas.text(SPLIT + 216, FOOT + 38, text, 27, bold=True)
        origin = known.provenance["accuracy"]
        canvas.text(SPLIT + 216, FOOT + 58, f"accuracy, {origin}", 9.5, MUTED)
    _paint_history(canvas, scene.history)


def _paint_history(canvas: Canvas, history: Sequence[float], shown: int = 200) -> None:
    """The latest rewards as dots, the best so far as a line."""
    left, right, top, bottom = SPLIT, SIZE[0] - MARGIN, FOOT + 84, FOOT + 150
    canvas.line([(left, bottom), (right, bottom)], LINE, 1.0)
    if not history:
        canvas.text(left, bottom + 20, "no episode finished yet", 9.5, MUTED)
        return
    best = np.maximum.accumulate(history)[-shown:]
    latest = np.array(history[-shown:])
    low, high = min(latest.min(), best.min()), best.max()
    scale = (bottom - top) / max(high - low, 1e-9)
    step = (right - left - 8) / max(len(latest) - 1, 1)
    xs = left + 4 + step * np.arange(len(latest))
    canvas.dots(list(zip(xs, bottom - scale * (latest - low), strict=True)), FAINT, 3.5)
    heights = bottom - scale * (best - low)
    stairs = [
        p for x, y, z in zip(xs[1:], heights, heights[1:], strict=False) for p in ((x, y), (x, z))
    ]
    canvas.line([(xs[0], heights[0]), *stairs], ACCENT, 1.8)
    canvas.dots([(xs[-1], bottom - scale * (latest[-1] - low))], INK, 6)
    canvas.text(left, bottom + 20, best_so_far(history), 9.5, MUTED)
