"""A network while it grows: as text, as pixels, or in a window."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emnas_gym import costs
from emnas_gym.analytic import AnalyticEvaluator
from emnas_gym.drawing import (
    COLOURS,
    Box,
    Canvas,
    Gauge,
    Point,
    boxes,
    gauges,
    known_values,
    matplotlib_part,
    mix,
    quantity,
    shape_text,
)
from emnas_gym.errors import EmNASError
from emnas_gym.graph import GraphBuilder, LayerGraph
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem, latency_scale

SIZE = (1280, 720)  # pixels
MARGIN = 44
NETWORK = (84, 494)  # top and bottom of the layers
FOOT = 528  # top of the gauges
SPLIT = 812  # left edge of the result
ONE_ROW, MORE_ROWS = 16, 12  # layers that stay readable side by side
INK, MUTED, FAINT, LINE = "#13221c", "#5c6b65", "#a9b6b0", "#d9e1dd"
GROUND, PANEL, GOOD, OVER, ACCENT = "#f6f8f7", "#ffffff", "#14805f", "#c8322b", "#b8551d"
BAR = "#2c6fb3"


@dataclass(frozen=True)
class Scene:
    """All that a picture shows.

    Attributes:
        problem: What is searched.
        tokens: Tokens so far.
        graph: The layers so far, perhaps without an output; None if they do not build.
        spent: Costs so far: flash_bytes, ram_bytes, macs, and latency_ms if the device has a line.
        reward: Of the finished network.
        measurement: Of the finished network.
        history: Rewards of the episodes so far, the latest last.
    """

    problem: Problem
    tokens: tuple[int, ...]
    graph: LayerGraph | None
    spent: Mapping[str, float] = field(default_factory=dict)
    reward: float | None = None
    measurement: Measurement | None = None
    history: tuple[float, ...] = ()

    @property
    def finished(self) -> bool:
        """Whether the output layer is placed."""
        return bool(self.tokens) and self.tokens[-1] == self.problem.space.end_token

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The layers as boxes."""
        return () if self.graph is None else boxes(self.graph)

    @property
    def gauges(self) -> tuple[Gauge, ...]:
        """Costs against budgets: measured ones once there are any, else those so far."""
        known = self.measurement or Measurement()
        return gauges(
            {**self.spent, **known_values(known)},
            self.problem.budgets.to_json(),
            before={} if self.finished else spent(self.problem, self.tokens[:-1]),
            usual=usual_costs(self.problem),
            provenance=dict.fromkeys(self.spent, "analytic") | dict(known.provenance),
        )


def make_scene(
    problem: Problem,
    tokens: Sequence[int],
    measurement: Measurement | None = None,
    reward: float | None = None,
    history: Sequence[float] = (),
) -> Scene:
    """The scene of the layers so far, whose graph and costs follow from the tokens.

    Args:
        problem: What is searched.
        tokens: Tokens so far.
        measurement: Of the finished network.
        reward: Of the finished network.
        history: Rewards of the episodes so far, the latest last.
    """
    placed = tuple(int(token) for token in tokens)
    graph = partial_graph(problem, placed)
    cost = spent(problem, placed)
    return Scene(problem, placed, graph, cost, reward, measurement, tuple(history))


def partial_graph(problem: Problem, tokens: Sequence[int]) -> LayerGraph | None:
    """The graph of the layers so far, which may still lack its output; None if it does not build.

    Args:
        problem: Its space and task.
        tokens: Tokens so far; 0, "no layer", adds nothing.
    """
    builder = GraphBuilder(problem.task.input_shape)
    try:
        for token in tokens:
            if token:
                problem.space.spec(int(token)).lower(builder, problem.task.classes)
    except EmNASError:
        return None
    return builder.build()


def spent(problem: Problem, tokens: Sequence[int]) -> dict[str, float]:
    """What the layers so far cost; empty if they do not build."""
    graph = partial_graph(problem, tokens)
    if graph is None:
        return {}
    macs = costs.macs(graph)
    known: dict[str, float] = {
        "flash_bytes": costs.flash_bytes(graph),
        "ram_bytes": costs.ram_bytes(graph),
        "macs": macs,
    }
    latency = AnalyticEvaluator.for_problem(problem).latency_ms(macs)
    return known if latency is None else known | {"latency_ms": latency}


def usual_costs(problem: Problem) -> dict[str, float]:
    """The usual latency of a task on a device, and the MACs that take so long."""
    target = latency_scale(problem.task, problem.device).target_ms
    constant, slope = problem.device.latency_a_ms, problem.device.latency_b_ms_per_mac
    macs = {"macs": (target - (constant or 0.0)) / slope} if slope else {}
    return {"latency_ms": target} | macs


# ----------------------------------------------------------------------------------------- text


def render_ansi(scene: Scene) -> str:
    """The scene as a plain text table, without escape codes."""
    parts = [_title(scene), "", *_layer_rows(scene), "", *_gauge_rows(scene), "", _verdict(scene)]
    return "\n".join(parts) + "\n"


def _title(scene: Scene) -> str:
    problem = scene.problem
    return f"{problem.space.name} · {_task(problem, 60)} · {problem.device.title}"


def _task(problem: Problem, length: int) -> str:
    shape, classes = shape_text(problem.task.input_shape), problem.task.classes
    return f"{_short(problem.task.name, length)}, {shape}, {classes} classes"


def _progress(scene: Scene) -> str:
    low, high = scene.problem.min_layers, scene.problem.max_layers
    lengths = f"{low}" if low == high else f"{low}–{high}"
    return f"{len(scene.tokens)} of {lengths} layers"


def _layer_rows(scene: Scene) -> list[str]:
    rows = [f"{'#':>3}  {'token':>5}  {'layer':<30}  {'output':<12}  {'flash':>9}  {'MACs':>9}"]
    shape = shape_text(scene.problem.task.input_shape)
    rows.append(f"{0:>3}  {'':>5}  {'input':<30}  {shape:<12}")
    before = spent(scene.problem, ())
    for position, token in enumerate(scene.tokens, 1):
        graph = partial_graph(scene.problem, scene.tokens[:position])
        after = spent(scene.problem, scene.tokens[:position])
        rows.append(_layer_row(scene, position, token, graph, before, after))
        before = after
    return rows


def _layer_row(
    scene: Scene,
    position: int,
    token: int,
    graph: LayerGraph | None,
    before: Mapping[str, float],
    after: Mapping[str, float],
) -> str:
    layer = str(scene.problem.space.spec(token)) if token else "no layer"
    if graph is None:
        return f"{position:>3}  {token:>5}  {layer:<30}  does not fit here"
    added = {name: quantity(name, after[name] - before[name]) for name in ("flash_bytes", "macs")}
    shape = shape_text(graph.output_shape)
    costs_added = f"{added['flash_bytes']:>9}  {added['macs']:>9}"
    return f"{position:>3}  {token:>5}  {layer:<30}  {shape:<12}  {costs_added}"


def _gauge_rows(scene: Scene, width: int = 28) -> list[str]:
    rows = []
    for gauge in scene.gauges:
        cells = round(width * (gauge.value or 0.0) / gauge.full)
        bar = "".join("█" if i < cells else "·" for i in range(width))
        if gauge.mark is not None:
            mark = round(width * gauge.mark / gauge.full)
            bar = f"{bar[:mark]}{'|' if gauge.limit else ':'}{bar[mark:]}"
        over = "  OVER" if gauge.over else ""
        text = f"{gauge.text:>11} {gauge.limit_text}"
        rows.append(f"{gauge.title:<8} {bar:<{width + 1}} {text}{over}")
    return rows


def _verdict(scene: Scene) -> str:
    if scene.reward is None:
        return ("finished, " if scene.finished else "growing: ") + _progress(scene)
    known = scene.measurement
    parts = [f"reward {scene.reward:.4f}"]
    if known is not None and known.accuracy is not None:
        origin = known.provenance["accuracy"]
        parts.append(f"accuracy {quantity('accuracy', known.accuracy)} ({origin})")
    if len(scene.history) > 1:
        parts.append(_best(scene.history))
    return " · ".join(parts)


def _best(history: Sequence[float]) -> str:
    episodes = "1 episode" if len(history) == 1 else f"{len(history):,} episodes"
    return f"best of {episodes}: {max(history):.3f}"


# --------------------------------------------------------------------------------------- pixels


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
    canvas.text(MARGIN, 48, _short(scene.problem.space.name, 30), 17, bold=True)
    where = f"{_task(scene.problem, 40)}, on {_short(scene.problem.device.title, 50)}"
    canvas.text(MARGIN, 70, where, 10, MUTED)
    right = SIZE[0] - MARGIN
    done = f"{len(scene.tokens)} layers, complete"
    canvas.text(right, 48, done if scene.finished else _progress(scene), 13, align="right")
    canvas.text(right, 70, _short(_last_layer(scene), 50), 10, MUTED, align="right")


def _last_layer(scene: Scene) -> str:
    if not scene.tokens or not scene.tokens[-1]:
        return "no layer yet"
    return f"last: {scene.problem.space.spec(scene.tokens[-1])}"


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
    builder = GraphBuilder((1, 1, 1))
    space = scene.problem.space
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
    canvas.text(left, bottom + 20, _best(history), 9.5, MUTED)


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length // 2]}…{text[-(length // 2) + 1 :]}"


# --------------------------------------------------------------------------------------- window


class HumanView:
    """Shows scenes in a window; where there is no display, as numbered PNG files.

    Args:
        folder: Where the files go; a new folder for temporary files if None.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self._folder = None if folder is None else Path(folder)
        self._frames = 0
        self._window: Any = None
        self._image: Any = None
        self._decided = False

    def show(self, scene: Scene) -> None:
        """Shows a scene.

        Raises:
            DependencyNotInstalled: If matplotlib is missing.
        """
        pixels = render_rgb(scene)
        if not self._decided:
            self._decided = True
            self._window = _open_window()
        if self._window is not None:
            self._draw(pixels)
        else:
            self._write(pixels)

    def close(self) -> None:
        """Closes the window; the next scene would open a new one."""
        if self._window is not None:
            matplotlib_part("pyplot").close(self._window)
        self._window, self._image, self._decided = None, None, False

    def _draw(self, pixels: NDArray[np.uint8]) -> None:
        if not matplotlib_part("pyplot").fignum_exists(self._window.number):
            return  # whoever looked on has closed it
        if self._image is None:
            axes = self._window.add_axes((0, 0, 1, 1))
            axes.set_axis_off()
            self._image = axes.imshow(pixels)
            self._window.show()
        self._image.set_data(pixels)
        self._window.canvas.draw_idle()
        self._window.canvas.flush_events()

    def _write(self, pixels: NDArray[np.uint8]) -> None:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="emnas-frames-"))
        if self._frames == 0:
            self._folder.mkdir(parents=True, exist_ok=True)
            print(f"no display, frames are written to {self._folder}", file=sys.stderr)
        self._frames += 1
        path = self._folder / f"frame-{self._frames:05d}.png"
        matplotlib_part("image").imsave(path, pixels)


def _open_window() -> Any:  # noqa: ANN401
    """A figure in a window; None where no window can be opened."""
    if sys.platform == "linux" and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return None
    pyplot = matplotlib_part("pyplot")
    registry = matplotlib_part("backends")
    interactive = registry.backend_registry.list_builtin(registry.BackendFilter.INTERACTIVE)
    try:
        window = pyplot.figure(figsize=(SIZE[0] / 100, SIZE[1] / 100), dpi=100)
    except Exception:  # each toolkit has errors of its own, and none of them may end a search
        return None
    if pyplot.get_backend().lower() in interactive:
        return window
    pyplot.close(window)
    return None
