"""Charts of many agents over one axis: lines with bands, each named where it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.report.charts import HALF, Layout, Mark, Pairs, Plot, Texts, plain_texts, short

DRAWN = 160  # points of a line in the picture; its data has all
APART = 15.0  # pixels between two names
LETTER = 7.7  # width of a bold letter, in pixels; "maskable-ppo" has wide ones


@dataclass(frozen=True)
class Line:
    """One agent's line.

    Attributes:
        label: Its name.
        role: Classes of its colour.
        points: (x, y), x ascending.
        band: (x, low, high) around it; may be empty.
    """

    label: str
    role: str
    points: Pairs
    band: Sequence[tuple[float, float, float]] = ()


@dataclass(frozen=True)
class Scale:
    """Ranges and names of the axes.

    Attributes:
        x: Range.
        y: Range.
        title: Of the x axis.
        x_texts: Numbers of the x axis as text.
        y_texts: Numbers of the y axis as text.
        log_y: Whether the y axis is logarithmic.
        named: Whether each line is named where it ends.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    title: str
    x_texts: Texts = plain_texts
    y_texts: Texts = plain_texts
    log_y: bool = False
    named: bool = True


def lines_layout(width: int, height: int, lines: Sequence[Line], scale: Scale) -> Layout:
    """Bands below, lines above, names at the right where there is room for them."""
    most = 20 if width > HALF else 14
    named = scale.named and width >= HALF
    longest = max((len(short(line.label, most)) for line in lines), default=0)
    right = round(LETTER * longest) + 22 if named else 24
    plot = Plot.of((width, height), scale.x, scale.y, log_y=scale.log_y, right=right)
    marks = plot.frame(scale.x_texts, scale.y_texts, scale.title)
    marks += [band(plot, line) for line in reversed(lines) if line.band]
    marks += [path(plot, line) for line in reversed(lines)]
    return Layout(width, height, tuple(marks + (_names(plot, lines, most) if named else [])))


def thinned(points: Pairs, most: int = DRAWN) -> Pairs:
    """Some of the points, the first and the last among them."""
    if len(points) <= most:
        return points
    last = len(points) - 1
    return [points[i] for i in sorted({round(k * last / (most - 1)) for k in range(most)})]


def path(plot: Plot, line: Line) -> Mark:
    """The line from where it enters the frame."""
    seen = [(x, y) for x, y in line.points if y >= plot.y.low or plot.y.log]
    corners = [f"{plot.x(x):.1f} {_inside(plot, y):.1f}" for x, y in thinned(seen)]
    return Mark(f"line {line.role}", "M" + "L".join(corners) if corners else "", text=line.label)


def band(plot: Plot, line: Line) -> Mark:
    """The area between two bounds."""
    kept = thinned([(x, i) for i, (x, _, _) in enumerate(line.band)])
    rows = [line.band[int(i)] for _, i in kept]
    above = [f"{plot.x(x):.1f} {_inside(plot, high):.1f}" for x, _, high in rows]
    below = [f"{plot.x(x):.1f} {_inside(plot, low):.1f}" for x, low, _ in reversed(rows)]
    return Mark(f"band {line.role}", f"M{'L'.join(above + below)}z", text=f"{line.label}, 95 %")


def _inside(plot: Plot, value: float) -> float:
    return plot.y(min(max(value, plot.y.low), plot.y.high))


def _names(plot: Plot, lines: Sequence[Line], most: int) -> list[Mark]:
    """Each name beside the end of its line, none on another."""
    ends = [(_inside(plot, line.points[-1][1]), line) for line in lines if line.points]
    spots = spread([y for y, _ in ends], plot.y.end + 4, plot.y.start)
    return [
        Mark(f"tick name {line.role}", x=plot.x.end + 8, y=y + 4, text=short(line.label, most))
        for y, (_, line) in zip(spots, ends, strict=True)
    ]


def spread(wanted: Sequence[float], low: float, high: float, gap: float = APART) -> list[float]:
    """Places that lie a gap apart, in the order of the wanted ones and near them.

    Names that touch are moved apart around their common middle, like books on a shelf.
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    groups: list[tuple[float, int]] = []  # middle and size
    for i in order:
        groups.append((wanted[i], 1))
        while len(groups) > 1 and _touch(groups[-2], groups[-1], gap):
            (a, m), (b, n) = groups[-2:]
            groups[-2:] = [((a * m + b * n) / (m + n), m + n)]
    placed = [middle + (k - (n - 1) / 2) * gap for middle, n in groups for k in range(n)]
    shift = max(low - placed[0], 0.0) if placed else 0.0
    shift = shift or (min(high - placed[-1], 0.0) if placed else 0.0)
    result = [0.0] * len(wanted)
    for i, y in zip(order, placed, strict=True):
        result[i] = y + shift
    return result


def _touch(above: tuple[float, int], below: tuple[float, int], gap: float) -> bool:
    return below[0] - above[0] < gap * (above[1] + below[1]) / 2
