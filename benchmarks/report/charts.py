"""Charts as geometry: what a template draws as SVG, and the data behind it.

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

WIDE, HALF, NARROW = 1000, 464, 350  # widths of the layouts, in CSS pixels
LABEL = 30  # characters of a label in a picture
DOTS = 3000  # more are thinned in the picture, never in the data
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
        alt: What is seen, for those who cannot; the title where it is empty.
    """

    name: str
    title: str
    caption: str
    legend: tuple[tuple[str, str, str], ...]
    layouts: tuple[Layout, Layout]
    header: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    alt: str = ""

    @property
    def csv(self) -> str:
        """The data as comma-separated values; no cell starts a formula."""
        return csv_text(self.header, self.rows)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table as comma-separated values; no cell starts a formula."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([[_cell(c) for c in row] for row in (header, *rows)])
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
        log_y: bool = False,
        right: int = 24,
    ) -> Plot:
        """A frame of a size for two ranges of values, with room for labels at its right."""
        width, height = size
        across, up = Axis(*x, 64, width - right, log), Axis(*y, height - 46, 12, log_y)
        return cls(across, up, width, height)

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


def padded(low: float, high: float, share: float = 0.06) -> tuple[float, float]:
    """A range with some room at both ends."""
    room = share * (high - low) or share * abs(high) or share
    return low - room, high + room


def short(label: str, most: int = LABEL) -> str:
    """A label that fits into a picture."""
    return label if len(label) <= most else f"{label[: most - 1]}…"
