"""Figures of a search by gradient: how it made up its mind, and what it expected meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.report.charts import (
    NARROW,
    WIDE,
    Figure,
    Layout,
    Mark,
    Plot,
    Summary,
    finite,
    padded,
    plain_texts,
)
from benchmarks.report.lines import Line, Scale, lines_layout
from emnas_gym.rendering.gauges import quantity

PANELS = 15  # edges that are drawn; the data has all
ACROSS, DOWN = (5, 2), (150.0, 118.0)  # panels side by side and their height: on a desk, on a phone
COLOURS = 6
Trace = Mapping[str, Any]


def gradient_figures(summary: Summary) -> list[Figure]:
    """All that there is to show of the traces; none of a search of another kind."""
    traces = [trace for trace in summary.get("traces") or () if trace.get("probabilities")]
    if not traces:
        return []
    number, count = summary.get("restarts") or (1, 1)
    which = f" Supernet {number} of {count}, that of the best evaluation." if count > 1 else ""
    drawn = (
        _probabilities(traces, which),
        _entropy(traces),
        _losses(traces),
        _latency(summary, traces),
    )
    return [figure for figure in drawn if figure is not None]


def _operations(trace: Trace) -> dict[str, str]:
    """The class of each operation's series, in the order of operations."""
    names = list(dict.fromkeys(n for rows in trace["operations"].values() for r in rows for n in r))
    return {
        name: f"series s{i % COLOURS}" + (f" dash{i // COLOURS}" if i >= COLOURS else "")
        for i, name in enumerate(names)
    }


def _edges(trace: Trace) -> list[tuple[str, int, str]]:
    """Group, row and name of every edge."""
    several = len(trace["edges"]) > 1
    return [
        (group, row, f"{group} {name}" if several else name)
        for group, names in trace["edges"].items()
        for row, name in enumerate(names)
    ]


def _probabilities(traces: Sequence[Trace], which: str) -> Figure:
    colours, edges = _operations(traces[0]), _edges(traces[0])
    rows = [
        (step, name, operation, traces[step]["probabilities"][group][row][i])
        for step in range(len(traces))
        for group, row, name in edges
        for i, operation in enumerate(traces[step]["operations"][group][row])
    ]
    left = len(edges) - PANELS
    more = f" {left} more edges are in the data." if left > 0 else ""
    return Figure(
        "probabilities",
        "How each edge made up its mind",
        "Probability of each operation on each edge over the epochs of the search, the softmax of "
        f"its architecture parameters; a panel an edge, from 0 to 1.{which}{more}",
        tuple((role, name, "") for name, role in colours.items()),
        (_panels(traces, WIDE, 0), _panels(traces, NARROW, 1)),
        ("epoch", "edge", "operation", "probability"),
        tuple(rows),
    )


def _panels(traces: Sequence[Trace], width: int, narrow: int) -> Layout:
    colours, edges = _operations(traces[0]), _edges(traces[0])[:PANELS]
    down = -(-len(edges) // ACROSS[narrow])
    across = -(-len(edges) // down)
    wide, tall = width / across, DOWN[narrow]
    marks: list[Mark] = []
    for i, (group, row, name) in enumerate(edges):
        x, y = (i % across) * wide, (i // across) * tall
        marks += _panel(traces, group, row, (x + 4, y + 24, wide - 14, tall - 36), colours)
        marks.append(Mark("tick strong", x=x + 4, y=y + 15, text=name))
    return Layout(width, tall * down, tuple(marks))


def _panel(
    traces: Sequence[Trace],
    group: str,
    row: int,
    box: tuple[float, float, float, float],
    colours: Mapping[str, str],
) -> list[Mark]:
    x, y, wide, tall = box
    step = wide / max(len(traces) - 1, 1)
    marks = [Mark("axis", f"M{x:.1f} {y + tall:.1f}h{wide:.1f}"), Mark("grid", f"M{x} {y}h{wide}")]
    for i, operation in enumerate(traces[0]["operations"][group][row]):
        values = [trace["probabilities"][group][row][i] for trace in traces]
        corners = [f"{x + step * t:.1f} {y + tall * (1 - p):.1f}" for t, p in enumerate(values)]
        told = f"{operation}, {values[-1]:.2f} at the end"
        marks.append(Mark(f"line {colours[operation]}", "M" + "L".join(corners), text=told))
    return marks


def _entropy(traces: Sequence[Trace]) -> Figure | None:
    values = _points(traces, "entropy")
    if not values:
        return None
    line = Line("entropy", "series s0", values)
    return _lines(
        "entropy",
        "How undecided it was",
        "Mean entropy of an edge's probabilities, in nats; 0 once every edge is decided.",
        [line],
        (0.0, max(y for _, y in values) * 1.06 or 1.0),
    )


def _losses(traces: Sequence[Trace]) -> Figure | None:
    lines = [
        Line(name, f"series s{i}", points)
        for i, (name, key) in enumerate(
            (("weights, training half", "train_loss"), ("architecture, other half", "valid_loss"))
        )
        if (points := _points(traces, key))
    ]
    if not lines:
        return None
    every = [y for line in lines for _, y in line.points]
    return _lines(
        "losses",
        "Losses of the supernet",
        "Cross-entropy on the half of the images that weights learn from, and on the other half "
        "that architecture parameters learn from.",
        lines,
        padded(min(every), max(every)),
    )


def _latency(summary: Summary, traces: Sequence[Trace]) -> Figure | None:
    """Expected latency, that of the favourite by the same table, and what was measured."""
    expected = _points(traces, "expected_latency_us")
    if not expected:
        return None
    favourite = _points(traces, "favourite_latency_us")
    measured = [
        (float(step), 1e3 * latency)
        for step, latency in summary.get("measured_latencies") or ()
        if latency is not None
    ]
    lines = [
        Line("expected", "series s0", expected),
        *([Line("favourite, predicted", "series s2", favourite)] if favourite else []),
    ]
    every = [y for line in lines for _, y in line.points] + [y for _, y in measured]
    low, high = padded(min(every), max(every))

    def layout(width: int, height: int) -> Layout:
        span = (0.0, float(max(len(traces) - 1, 1)))
        drawn = lines_layout(width, height, lines, Scale(span, (low, high), "epoch", named=False))
        plot = Plot.of((width, height), span, (low, high))
        return Layout(
            width, height, (*drawn.marks, plot.dots("large series s1", measured))
        )  # right edge as that of lines without names

    rows = [("expected", x, y) for x, y in expected]
    rows += [("favourite, predicted", x, y) for x, y in favourite]
    rows += [("measured", x, y) for x, y in measured]
    last = f"{quantity('latency_ms', expected[-1][1] / 1e3)} at the end"
    return Figure(
        "expected",
        "Expected and measured latency",
        "Latency that a network drawn from the probabilities takes on average, by the table or "
        "predictor in the loss, over the epochs; dots are networks that were evaluated.",
        (("series s0", "expected", last), ("series s2", "likeliest network, predicted", ""),
         ("series s1", "measured", "")),
        (layout(WIDE, 320), layout(NARROW, 280)),
        ("what", "epoch", "latency_us"),
        tuple(rows),
    )  # fmt: skip


def _points(traces: Sequence[Trace], key: str) -> list[tuple[float, float]]:
    values = finite([trace.get(key) for trace in traces])
    return [(float(step), value) for step, value in enumerate(values) if value is not None]


def _lines(
    name: str, title: str, caption: str, lines: Sequence[Line], span: tuple[float, float]
) -> Figure:
    last = max(x for line in lines for x, _ in line.points)
    scale = Scale((0.0, last or 1.0), span, "epoch", plain_texts, plain_texts, named=False)
    return Figure(
        name,
        title,
        caption,
        tuple((line.role, line.label, f"{line.points[-1][1]:.3f}") for line in lines),
        (lines_layout(WIDE, 260, lines, scale), lines_layout(NARROW, 240, lines, scale)),
        ("what", "epoch", name),
        tuple((line.label, x, y) for line in lines for x, y in line.points),
    )
