"""Charts with a lane for each agent: a dot a run, the interval of the mean, and words beside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.report.charts import WIDE, Axis, Layout, Mark, Plot, Texts, plain_texts, short
from benchmarks.report.lines import LETTER

EDGE = 23  # pixels beside a lane that has nothing beside it
TALL, FLAT = 46, 34  # height of a lane with its name above, and with its name beside


@dataclass(frozen=True)
class Lane:
    """One agent's lane.

    Attributes:
        label: Its name; a lane of nothing else is a heading.
        role: Classes of its colour.
        dots: Value of each run.
        middle: Mean or median, or None.
        interval: Around it, or None.
        note: Words at its right.
    """

    label: str
    role: str = ""
    dots: tuple[float, ...] = ()
    middle: float | None = None
    interval: tuple[float, float] | None = None
    note: str = ""

    @property
    def values(self) -> list[float]:
        """All that is drawn."""
        known = [] if self.middle is None else [self.middle]
        return [*self.dots, *known, *(self.interval or ())]


@dataclass(frozen=True)
class Track:
    """The axis of lanes.

    Attributes:
        span: Range of values.
        title: Of the axis.
        texts: Numbers as text.
        log: Whether it is logarithmic.
        mark: A value that is marked in all lanes, or None.
    """

    span: tuple[float, float]
    title: str
    texts: Texts = plain_texts
    log: bool = False
    mark: float | None = None


def lanes_layout(width: int, lanes: Sequence[Lane], track: Track) -> Layout:
    """Lanes below each other; in a narrow picture a name stands above its lane."""
    beside = width == WIDE
    pitch = FLAT if beside else TALL
    names = max((len(short(lane.label)) for lane in lanes if lane.role), default=0)
    notes = max((len(lane.note) for lane in lanes), default=0)
    left = round(LETTER * names) + 22 if beside else EDGE
    right = width - (round(LETTER * notes) + 22 if beside and notes else EDGE)
    height = pitch * len(lanes) + 52
    plot = Plot(
        Axis(*track.span, left, right, track.log), Axis(0, 1, height - 46, 6), width, height
    )
    marks = [m for m in plot.frame(track.texts, _nothing, track.title) if "grid" not in m.role]
    if track.mark is not None:
        at = plot.x(track.mark)
        marks.append(Mark("usual", f"M{at:.1f} {plot.y.end:.1f}V{plot.y.start:.1f}"))
    for i, lane in enumerate(lanes):
        marks += _lane(plot, lane, 6 + pitch * (i + (0.5 if beside else 0.72)), beside)
    return Layout(width, height, tuple(marks))


def _nothing(values: Sequence[float]) -> list[str]:
    return [""] * len(values)


def _lane(plot: Plot, lane: Lane, y: float, beside: bool) -> list[Mark]:
    marks = _words(plot, lane, y, beside)
    if not lane.role:
        return marks
    marks.append(Mark("grid", f"M{plot.x.start:.1f} {y:.1f}H{plot.x.end:.1f}"))
    if lane.dots:
        dots = "".join(f"M{plot.x(v):.1f} {y:.1f}h0" for v in lane.dots)
        marks.append(Mark(f"dots cloud {lane.role}", dots, text=f"{lane.label}: each run"))
    if lane.interval is not None:
        low, high = (plot.x(v) for v in lane.interval)
        bar = f"M{low:.1f} {y:.1f}H{max(high, low + 0.1):.1f}"
        marks.append(Mark(f"interval {lane.role}", bar, text=f"{lane.label}: 95 % interval"))
    if lane.middle is not None:
        tick = f"M{plot.x(lane.middle):.1f} {y - 9:.1f}v18"
        marks.append(
            Mark(f"middle-mark {lane.role}", tick, text=f"{lane.label}: {lane.middle:.6g}")
        )
    return marks


def _words(plot: Plot, lane: Lane, y: float, beside: bool) -> list[Mark]:
    if not lane.role:
        return [Mark("value heading", x=0 if beside else plot.x.start, y=y + 4, text=lane.label)]
    if beside:
        words = [Mark("tick strong end", x=plot.x.start - 12, y=y + 4, text=short(lane.label))]
        return [*words, Mark("tick", x=plot.x.end + 12, y=y + 4, text=lane.note)]
    words = [Mark("tick strong", x=plot.x.start, y=y - 15, text=short(lane.label))]
    return [*words, Mark("tick end", x=plot.x.end, y=y - 15, text=lane.note)]
