"""Figures of the network that won: its layers as blocks, its costs as bars with their limits."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.report.charts import HALF, NARROW, WIDE, Figure, Layout, Mark, Summary
from benchmarks.report.search.branched_figure import CAPTION, branched_layout
from emnas_gym.rendering.boxes import Box, shape_text
from emnas_gym.rendering.gauges import Gauge, gauges, quantity
from emnas_gym.rendering.layers import is_branched

PITCH = 68  # height of a gauge
COLUMNS = {WIDE: 10, NARROW: 4}  # layers side by side
CHAIN = (
    "A block is as high and deep as the map that the layer returns and as wide as its "
    "channels (on a logarithmic scale); a flat bar is a vector. Below: output shape, window "
    "/stride, activation."
)
GAUGED = ("flash_bytes", "ram_bytes", "macs", "latency_ms", "energy_mj")


def network_figure(summary: Summary) -> Figure | None:
    """The winner's layers as blocks; None if the summary does not hold them."""
    layers = [Box.from_json(data) for data in summary["best"].get("graph") or ()]
    if not layers:
        return None
    branched = is_branched(layers)
    side = max((s for box in layers if box.is_map for s in box.shape[:2]), default=1)

    def layout(width: int, row: int) -> Layout:
        if branched:
            return branched_layout(layers, width)
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
        CAPTION if branched else CHAIN,
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
