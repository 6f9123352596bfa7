"""The figures of a report as geometry: what a template draws as SVG, and the data behind it.

A figure comes in two layouts, wide and narrow, so that its text is as large on a phone as on a
desk. Nothing here knows markup or colours: a mark has a role, which the style sheet resolves for
light and dark.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emnas_gym.drawing import Box, Gauge, gauges, quantity, shape_text

WIDE, HALF, NARROW = 1000, 464, 350  # widths of the layouts, in CSS pixels
DOTS = 3000  # more are thinned in the picture, never in the data
PITCH = 68  # height of a gauge
COLUMNS = {WIDE: 10, NARROW: 4}  # layers side by side
GAUGED = ("flash_bytes", "ram_bytes", "macs", "latency_ms", "energy_mj")
Summary = Mapping[str, Any]
Pairs = Sequence[tuple[float, float]]
Texts = Callable[[Sequence[float]], list[str]]


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing that is drawn.

    Attributes:
        role: What it stands for; classes of the style sheet.
        d: Data of a path; empty for text.
        x: Of text.
        y: Of text.
        text: Content of text; of a path, what is told when it is pointed at.
    """

    role: str
    d: str = ""
    x: float = 0.0
    y: float = 0.0
    text: str = ""


@dataclass(frozen=True)
class Layout:
    """One size of a figure: its marks in the order of painting."""

    width: int
    height: float
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Figure:
    """A figure and its data.

    Attributes:
        name: Its id, and the stem of its data's file name.
        title: Says what is seen.
        caption: Says how to read it.
        legend: (role, name, value) of every series.
        layouts: One for a desk, one for a phone.
        header: Columns of the data.
        rows: The data.
    """

    name: str
    title: str
    caption: str
    legend: tuple[tuple[str, str, str], ...]
    layouts: tuple[Layout, Layout]
    header: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    @property
    def csv(self) -> str:
        """The data as comma-separated values; no cell starts a formula."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([[_cell(c) for c in row] for row in (self.header, *self.rows)])
        return text.getvalue()


def _cell(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"
    return "" if value is None else value


# ----------------------------------------------------------------------------------------- axes


@dataclass(frozen=True)
class Axis:
    """Values to pixels: ``low`` at ``start``, ``high`` at ``end``, logarithmic if ``log``."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Pixel of a value."""
        low, high, at = self.low, self.high, value
        if self.log:
            low, high, at = math.log(low), math.log(high), math.log(max(value, self.low))
        return self.start + (self.end - self.start) * (at - low) / ((high - low) or 1.0)

    def ticks(self, count: int) -> list[float]:
        """About ``count`` round values."""
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            values = [step * 10.0**p for p in powers for step in (1, 2, 5)]
            return [v for v in values if self.low <= v <= self.high]
        step = _round_step((self.high - self.low) / count)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]


def _round_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(f * power for f in (1, 2, 2.5, 5, 10) if f * power >= step * 0.999)


@dataclass(frozen=True)
class Plot:
    """The frame of a chart."""

    x: Axis
    y: Axis
    width: int
    height: int

    @classmethod
    def of(
        cls,
        size: tuple[int, int],
        x: tuple[float, float],
        y: tuple[float, float],
        log: bool = False,
    ) -> Plot:
        """A frame of a size for two ranges of values."""
        width, height = size
        return cls(Axis(*x, 64, width - 24, log), Axis(*y, height - 46, 12), width, height)

    def frame(self, x_texts: Texts, y_texts: Texts, x_title: str) -> list[Mark]:
        """Grid lines, labels, and the title of the x axis."""
        left, right, bottom = self.x.start, self.x.end, self.y.start
        marks = []
        values = self.y.ticks(5)
        for value, text in zip(values, y_texts(values), strict=True):
            y = self.y(value)
            marks.append(Mark("grid", f"M{left:.1f} {y:.1f}H{right:.1f}"))
            marks.append(Mark("tick end", x=left - 8, y=y + 4, text=text))
        values = self._apart(self.x.ticks(max(self.width // 110, 4)), 52)
        for value, text in zip(values, x_texts(values), strict=True):
            x = self.x(value)
            marks.append(Mark("axis", f"M{x:.1f} {bottom:.1f}v5"))
            marks.append(Mark("tick middle", x=x, y=bottom + 19, text=text))
        marks.append(Mark("axis", f"M{left:.1f} {bottom:.1f}H{right:.1f}"))
        return [*marks, Mark("tick end", x=right, y=self.height - 6, text=x_title)]

    def _apart(self, values: Sequence[float], gap: float) -> list[float]:
        """Values whose labels do not touch."""
        kept: list[float] = []
        for value in values:
            if not kept or self.x(value) - self.x(kept[-1]) >= gap:
                kept.append(value)
        return kept

    def dots(self, role: str, points: Pairs) -> Mark:
        """Many dots as one path; those below the frame are left out."""
        seen = [(x, y) for x, y in points if y >= self.y.low]
        step = -(-len(seen) // DOTS) or 1
        return Mark(f"dots {role}", "".join(f"{self.at(x, y)}h0" for x, y in seen[::step]))

    def stairs(self, role: str, points: Pairs) -> Mark:
        """A line that keeps a value until the next one, up to the right edge."""
        seen = [(x, y) for x, y in points if y >= self.y.low]
        moves = [f"H{self.x(x):.1f}V{self.y(y):.1f}" for x, y in seen[1:]]
        start = self.at(*seen[0]) if seen else ""
        return Mark(f"line {role}", start + "".join(moves) + (f"H{self.x.end:.1f}" if seen else ""))

    def at(self, x: float, y: float) -> str:
        """A move of a path to a point."""
        return f"M{self.x(x):.1f} {self.y(y):.1f}"


def plain_texts(values: Sequence[float]) -> list[str]:
    """Numbers with as many decimals as the one that needs most."""
    decimals = max((len(f"{v:.5g}".partition(".")[2]) for v in values), default=0)
    return [f"{value:,.{decimals}f}" for value in values]


def percent_texts(values: Sequence[float]) -> list[str]:
    """Shares as per cent."""
    return [f"{text} %" for text in plain_texts([100 * value for value in values])]


def finite(values: Iterable[Any]) -> list[float | None]:
    """Numbers as they are, None for all else."""
    return [
        float(value) if isinstance(value, (int, float)) and math.isfinite(value) else None
        for value in values
    ]


def _padded(low: float, high: float, share: float = 0.06) -> tuple[float, float]:
    room = share * (high - low) or share * abs(high) or share
    return low - room, high + room


# --------------------------------------------------------------------------------- search figures


@dataclass(frozen=True)
class Run:
    """What one searcher measured.

    Attributes:
        name: Of the agent, or of the sampler of random search.
        role: ``"agent"``, ``"random"`` or ``"walk"``.
        curve: Reward of every evaluation, None for a failed one.
        points: (latency_ms, accuracy) of every network that was measured.
    """

    name: str
    role: str
    curve: tuple[float | None, ...]
    points: tuple[tuple[float, float], ...]

    @property
    def best(self) -> list[tuple[float, float]]:
        """(evaluation, reward) wherever the best so far improves."""
        steps: list[tuple[float, float]] = []
        for i, reward in enumerate(self.curve, 1):
            if reward is not None and (not steps or reward > steps[-1][1]):
                steps.append((float(i), reward))
        return steps

    @property
    def front(self) -> list[tuple[float, float]]:
        """Networks that no other one beats on latency and accuracy, fastest first."""
        front: list[tuple[float, float]] = []
        for latency, accuracy in sorted(self.points, key=lambda p: (p[0], -p[1])):
            if not front or accuracy > front[-1][1]:
                front.append((latency, accuracy))
        return front


def runs(summary: Summary) -> list[Run]:
    """The agent's search, then random search by each of its samplers."""
    found = [_run(str(summary["agent"]["name"]), "agent", summary)]
    for name, data in (summary.get("random") or {}).items():
        found.append(
            _run(f"random, {name}", "random" if name == "uniform-length" else "walk", data)
        )
    return found


def _run(name: str, role: str, data: Summary) -> Run:
    pairs = [finite(point) for point in data.get("points") or () if point and len(point) == 2]
    points = tuple((x, y) for x, y in pairs if x is not None and y is not None and x > 0)
    return Run(name, role, tuple(finite(data.get("curve") or ())), points)


def reward_figure(summary: Summary) -> Figure | None:
    """Best reward so far over evaluations; None if nothing was measured."""
    searched = [run for run in runs(summary) if run.best]
    if not searched:
        return None
    count = max(len(run.curve) for run in searched)
    early = [
        max(r for i, r in run.best if i <= max(count // 40, run.best[0][0])) for run in searched
    ]
    low, high = _padded(min(early), max(run.best[-1][1] for run in searched))

    def layout(width: int, height: int) -> Layout:
        plot = Plot.of((width, height), (1, max(count, 2)), (low, high))
        marks = plot.frame(plain_texts, plain_texts, "evaluations")
        for run in reversed(searched):
            if run.role == "agent":
                tried = [(float(i), r) for i, r in enumerate(run.curve, 1) if r is not None]
                marks.append(plot.dots("agent faint", tried))
        marks += [plot.stairs(run.role, run.best) for run in reversed(searched)]
        return Layout(width, height, tuple(marks))

    header = [column for run in searched for column in (run.name, f"{run.name}, best so far")]
    return Figure(
        "reward",
        "Best reward so far",
        "Lines are the best reward up to each evaluation, dots the agent's single networks. All "
        "searchers have the same number of evaluations and the same evaluator. This is one run; "
        "“python -m benchmarks run first” tells luck from skill over ten seeds.",
        tuple((run.role, run.name, f"{run.best[-1][1]:.4f}") for run in searched),
        (layout(WIDE, 360), layout(NARROW, 300)),
        ("evaluation", *header),
        tuple(_curve_rows(searched, count)),
    )


def _curve_rows(searched: Sequence[Run], count: int) -> Iterable[tuple[Any, ...]]:
    best: list[float | None] = [None] * len(searched)
    for i in range(count):
        row: list[Any] = [i + 1]
        for k, run in enumerate(searched):
            reward = run.curve[i] if i < len(run.curve) else None
            known = [r for r in (best[k], reward) if r is not None]
            best[k] = max(known, default=None)
            row += [reward, best[k]]
        yield tuple(row)


def pareto_figure(summary: Summary) -> Figure | None:
    """Accuracy over latency of all that was evaluated, with fronts; None without points."""
    searched = [run for run in runs(summary) if run.points and run.role != "walk"]
    if not searched:
        return None
    points = [point for run in searched for point in run.points]
    slow, fast = max(x for x, _ in points), min(x for x, _ in points)
    log = slow > 5 * fast
    accuracies = sorted(y for _, y in points)
    low, high = _padded(accuracies[len(accuracies) // 3], accuracies[-1])
    hidden = sum(y < low for y in accuracies)
    best = summary["best"]["measurement"]
    chosen = finite([best.get("latency_ms"), best.get("accuracy")])

    def layout(width: int, height: int) -> Layout:
        x = (fast * 0.93, slow * 1.07) if log else _padded(fast, slow)
        plot = Plot.of((width, height), x, (low, high), log)
        marks = plot.frame(plain_texts, percent_texts, "latency, ms")
        marks += [plot.dots(f"{run.role} cloud", run.points) for run in reversed(searched)]
        marks += [plot.stairs(run.role, run.front) for run in reversed(searched)]
        if chosen[0] is not None and chosen[1] is not None and chosen[1] >= low:
            spot = plot.at(chosen[0], chosen[1])
            marks.append(Mark("ring", f"{spot}m-7 0a7 7 0 1 0 14 0a7 7 0 1 0-14 0", text="winner"))
        return Layout(width, height, tuple(marks))

    below = f" {hidden:,} weaker networks lie below the frame." if hidden else ""
    rows = [
        (r.name, x, y, int((x, y) in front))
        for r in searched
        for front in [set(r.front)]
        for x, y in r.points
    ]
    return Figure(
        "pareto",
        "Accuracy against latency",
        "Each dot is an evaluated network as predicted; a line joins those that no other one of "
        f"the same search beats on both. The ring is the winner.{below}",
        tuple((run.role, run.name, f"{len(run.front)} on the front") for run in searched),
        (layout(HALF, 400), layout(NARROW, 340)),
        ("searcher", "latency_ms", "accuracy", "on_front"),
        tuple(rows),
    )


# --------------------------------------------------------------------------------- verification


@dataclass(frozen=True)
class Trial:
    """A network that was predicted, and really trained."""

    name: str
    predicted: float | None
    seeds: tuple[float, ...]
    int8: float | None

    @property
    def mean(self) -> float:
        """Mean accuracy over the seeds."""
        return sum(self.seeds) / len(self.seeds)


def trials(summary: Summary) -> list[Trial]:
    """The verified winners, then the best network of random search if it was trained too."""
    found = []
    for winner in summary.get("winners") or ():
        seeds = _seeds(winner.get("verified"))
        if seeds:
            predicted = finite([winner["measurement"].get("accuracy")])[0]
            int8 = finite([(winner.get("int8") or {}).get("accuracy")])[0]
            found.append(Trial(f"#{winner['rank']}", predicted, seeds, int8))
    rival = _seeds(summary.get("random_verified"))
    return [*found, Trial("random", None, rival, None)] if found and rival else found


def _seeds(verified: Summary | None) -> tuple[float, ...]:
    return tuple(v for v in finite((verified or {}).get("accuracy") or ()) if v is not None)


def verified_figure(summary: Summary) -> Figure | None:
    """Predicted against really trained accuracy, a row a network; None if none was trained."""
    shown = trials(summary)
    if not shown:
        return None
    values = [v for t in shown for v in (*t.seeds, t.predicted, t.int8) if v is not None]
    low, high = _padded(min(values), max(values))

    def layout(width: int) -> Layout:
        height = 44 * len(shown) + 62
        plot = Plot.of((width, height), (low, high), (0, len(shown)))
        marks = [
            m
            for m in plot.frame(percent_texts, lambda v: [""] * len(v), "test accuracy")
            if m.role != "grid"
        ]
        for i, trial in enumerate(shown):
            marks += _trial_marks(plot, trial, len(shown) - i - 0.5)
        return Layout(width, height, tuple(marks))

    return Figure(
        "verified",
        "Predicted and really trained",
        "Every winner is trained from scratch with several seeds and tested on images that the "
        "search never saw. “random” is the best network of random search, treated alike.",
        (("predicted", "predicted", ""), ("verified", "trained, each seed", ""),
         ("mean", "mean", ""), ("int8", "int8 file", "")),
        (layout(HALF), layout(NARROW)),
        ("network", "what", "accuracy"),
        tuple(row for trial in shown for row in _trial_rows(trial)),
    )  # fmt: skip


def _trial_marks(plot: Plot, trial: Trial, row: float) -> list[Mark]:
    y = plot.y(row)
    marks = [
        Mark("grid", f"M{plot.x.start:.1f} {y:.1f}H{plot.x.end:.1f}"),
        Mark("tick end strong", x=plot.x.start - 8, y=y + 4, text=trial.name),
    ]
    left, right = plot.x(min(trial.seeds)), plot.x(max(trial.seeds))
    marks.append(Mark("spread", f"M{left:.1f} {y:.1f}H{right:.1f}"))
    dots = "".join(f"{plot.at(seed, row)}h0" for seed in trial.seeds)
    marks.append(Mark("dots verified", dots, text=f"{trial.name}: each seed"))
    mean = f"{trial.name}: mean {quantity('accuracy', trial.mean)}"
    marks.append(Mark("mean", f"{plot.at(trial.mean, row)}m0-9v18", text=mean))
    if trial.predicted is not None:
        told = f"{trial.name}: predicted {quantity('accuracy', trial.predicted)}"
        circle = f"{plot.at(trial.predicted, row)}m-6 0a6 6 0 1 0 12 0a6 6 0 1 0-12 0"
        marks.append(Mark("predicted", circle, text=told))
    if trial.int8 is not None:
        told = f"{trial.name}: int8 {quantity('accuracy', trial.int8)}"
        marks.append(Mark("int8", f"{plot.at(trial.int8, row)}m0 8l5 5-5 5-5-5z", text=told))
    return marks


def _trial_rows(trial: Trial) -> list[tuple[str, str, float]]:
    rows = [(trial.name, f"trained {i}", seed) for i, seed in enumerate(trial.seeds, 1)]
    known = {"predicted": trial.predicted, "int8": trial.int8}
    return rows + [(trial.name, what, v) for what, v in known.items() if v is not None]


# --------------------------------------------------------------------------------- the winner


def network_figure(summary: Summary) -> Figure | None:
    """The winner's layers as blocks; None if the summary does not hold them."""
    layers = [Box.from_json(data) for data in summary["best"].get("graph") or ()]
    if not layers:
        return None
    side = max((s for box in layers if box.is_map for s in box.shape[:2]), default=1)

    def layout(width: int, row: int) -> Layout:
        lines = -(-len(layers) // COLUMNS[width])
        grid = _Grid(width, max(-(-len(layers) // lines), 4 if width == NARROW else 6), row)
        marks = [
            _wire(grid, source, i)
            for i, box in enumerate(layers)
            for source in box.reads or ((i - 1,) if i else ())
        ]
        for i, box in enumerate(layers):
            marks += [*_block(grid, i, box, side), *_caption(grid, i, box)]
        return Layout(width, lines * row, tuple(marks))

    rows = [
        (i, b.label, b.op, shape_text(b.shape), b.window, b.activation)
        for i, b in enumerate(layers)
    ]
    return Figure(
        "network",
        "The network, input to output",
        "A block is as high and deep as the map that the layer returns and as wide as its "
        "channels (on a logarithmic scale); a flat bar is a vector. Below: output shape, window "
        "/stride, activation.",
        (),
        (layout(WIDE, 226), layout(NARROW, 172)),
        ("layer", "label", "op", "shape", "window", "activation"),
        tuple(rows),
    )


@dataclass(frozen=True)
class _Grid:
    width: int
    columns: int
    row: int

    @property
    def cell(self) -> float:
        return self.width / self.columns

    def centre(self, slot: int) -> tuple[float, float]:
        row, column = divmod(slot, self.columns)
        return (column + 0.5) * self.cell, row * self.row + (self.row - 70) / 2


def _wire(grid: _Grid, source: int, target: int) -> Mark:
    (x0, y0), (x1, y1) = grid.centre(source), grid.centre(target)
    if target - source > 1 and y0 == y1:
        return Mark(
            "wire", f"M{x0:.1f} {y0:.1f}Q{(x0 + x1) / 2:.1f} {y0 - 90:.1f} {x1:.1f} {y1:.1f}"
        )
    if y0 == y1:
        return Mark("wire", f"M{x0:.1f} {y0:.1f}H{x1:.1f}")
    half = grid.cell / 2
    return Mark("wire", f"M{x0:.1f} {y0:.1f}h{half:.1f}M{x1 - half:.1f} {y1:.1f}h{half:.1f}")


def _block(grid: _Grid, slot: int, box: Box, side: int) -> list[Mark]:
    """A map as a block, seen from the left front; a vector as a bar."""
    x, y = grid.centre(slot)
    wide, tall, deep = box.extent(side)
    width, height = max(0.42 * min(grid.cell, 92) * wide, 9.0), max(tall * (grid.row - 104), 4.0)
    shift = deep * 28.0
    lean = 0.6 * shift
    left, top = x - (width + shift) / 2, y - (height - lean) / 2
    right = left + width
    front = f"M{left:.1f} {top:.1f}h{width:.1f}v{height:.1f}h{-width:.1f}z"
    if not box.is_map:
        return [Mark(f"block {box.kind}", front, text=box.label)]
    roof = f"M{left:.1f} {top:.1f}l{shift:.1f} {-lean:.1f}h{width:.1f}l{-shift:.1f} {lean:.1f}z"
    flank = f"M{right:.1f} {top:.1f}l{shift:.1f} {-lean:.1f}v{height:.1f}l{-shift:.1f} {lean:.1f}z"
    return [
        Mark(f"block {box.kind}", front + roof + flank, text=box.label),
        Mark("lit", roof),
        Mark("shade", flank),
    ]


def _caption(grid: _Grid, slot: int, box: Box) -> list[Mark]:
    x = grid.centre(slot)[0]
    y = (slot // grid.columns + 1) * grid.row - 62
    activation = "" if box.activation == "none" else box.activation
    lines = [_cut(text) for text in (shape_text(box.shape), box.window, activation) if text]
    return [
        Mark(f"name middle {box.kind}", x=x, y=y, text=_cut(box.label)),
        *(
            Mark("tick middle" if i else "tick middle strong", x=x, y=y + 15 * (i + 1), text=text)
            for i, text in enumerate(lines)
        ),
    ]


def _cut(text: str, length: int = 14) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def winner_gauges(summary: Summary) -> tuple[Gauge, ...]:
    """The winner's costs against budgets; of an exported network its file's own."""
    known, export = summary["best"]["measurement"], summary.get("export") or {}
    values = {name: known.get(name) for name in GAUGED}
    values |= {n: export[n] for n in ("flash_bytes", "ram_bytes") if export.get(n) is not None}
    return gauges(
        {name: float(value) for name, value in values.items() if value is not None},
        summary["problem"].get("budgets") or {},
        usual=_usual(summary),
        provenance=known.get("provenance") or {},
    )


def _usual(summary: Summary) -> dict[str, float]:
    """The latency by which the reward is scaled, and the MACs that take so long."""
    target = (summary["problem"].get("reward") or {}).get("target_ms")
    slope = summary["device"].get("latency_b_ms_per_mac")
    if target is None:
        return {}
    constant = summary["device"].get("latency_a_ms") or 0.0
    macs = {"macs": (target - constant) / slope} if slope and target > constant else {}
    return {"latency_ms": float(target)} | macs


def gauges_figure(summary: Summary) -> Figure | None:
    """The winner's costs as bars with their limits; None if nothing is known."""
    shown = winner_gauges(summary)
    if not shown:
        return None

    def layout(width: int) -> Layout:
        marks = [mark for i, gauge in enumerate(shown) for mark in _gauge(gauge, width, PITCH * i)]
        return Layout(width, PITCH * len(shown), tuple(marks))

    device = summary["device"]
    memories = [
        f"{quantity(key, device[key])} of {name}"
        for key, name in (("flash_bytes", "flash"), ("ram_bytes", "RAM"))
        if device.get(key)
    ]
    board = f" The board has {' and '.join(memories)}." if memories else ""
    rows = [(g.name, g.value, g.limit, g.usual) for g in shown]
    return Figure(
        "costs",
        "What it costs",
        "The bold mark is the budget; where there is none, the thin mark is what is usual for "
        f"this task on this device.{board}",
        (),
        (layout(HALF), layout(NARROW)),
        ("cost", "value", "limit", "usual"),
        tuple(rows),
    )


def _gauge(gauge: Gauge, width: int, top: float) -> list[Mark]:
    joint = ", " if gauge.limit is None else " "
    state = "over" if gauge.over else "within" if gauge.limit is not None else "free"
    marks = [
        Mark("value strong", x=0, y=top + 18, text=gauge.title),
        Mark("value end", x=width, y=top + 18, text=f"{gauge.text}{joint}{gauge.limit_text}"),
        Mark("track", f"M0 {top + 28:.1f}h{width}v16h-{width}z"),
    ]
    if gauge.value is not None:
        filled = width * gauge.value / gauge.full
        marks.append(Mark(f"bar {state}", f"M0 {top + 28:.1f}h{filled:.1f}v16h-{filled:.1f}z"))
    if gauge.mark is not None:
        at = width * gauge.mark / gauge.full
        role = "usual" if gauge.limit is None else "limit"
        marks.append(Mark(role, f"M{at:.1f} {top + 24:.1f}v24"))
    return marks
