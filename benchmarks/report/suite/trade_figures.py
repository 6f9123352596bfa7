"""Figures of a suite that say what the found networks cost, what came true, what it took."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.comparison.significance import bootstrap_interval
from benchmarks.report.charts import (
    HALF,
    WIDE,
    Figure,
    Layout,
    Mark,
    Plot,
    Texts,
    padded,
    percent_texts,
    plain_texts,
)
from benchmarks.report.lanes import Lane, Track, lanes_layout
from benchmarks.report.lines import Scale, lines_layout
from benchmarks.report.suite.contest import Contest, slug
from benchmarks.report.suite.figures import Rows, layouts, legend, short_texts, to_lines
from benchmarks.suites.result import Result

KEPT = 0.75  # share of the points of fronts that a figure frames, the best ones
GRID = 60  # evaluations at which the hypervolume is read
CLOUD = 2000  # networks of one agent that are kept for a figure of fronts
TITLES = {  # of fields: name, unit
    "accuracy": ("accuracy", ""),
    "latency_ms": ("latency", "ms"),
    "energy_mj": ("energy", "mJ"),
    "ram_bytes": ("RAM", "bytes"),
    "flash_bytes": ("flash", "bytes"),
    "macs": ("MACs", ""),
    "params": ("parameters", ""),
}
Spot = tuple[int, float, float]  # seed, value across, value up


def field_title(field: str) -> str:
    """Name and unit of a field for people."""
    name, unit = TITLES.get(field, (field, ""))
    return f"{name}, {unit}" if unit else name


def _name(field: str) -> str:
    return TITLES.get(field, (field, ""))[0]


# ---------------------------------------------------------------------------------------- fronts


def pareto_figure(contest: Contest, across: Result, width: int = HALF) -> Figure | None:
    """The first objective against another one; None without networks that know both."""
    up = contest.environment["objectives"][0]
    spots = {
        label: _spots(contest, label, across["field"], up["field"]) for label in contest.ranked
    }
    spots = {label: found for label, found in spots.items() if found}
    if not spots:
        return None
    fronts = {label: front(found, across, up) for label, found in spots.items()}
    return Figure(
        f"{contest.name}-pareto-{slug(across['field'])}",
        f"Pareto fronts: {_name(up['field'])} against {_name(across['field'])}",
        "Small dots are the networks that no other of their run beats in every objective; a line "
        "joins those that none of the same agent beats in these two, all seeds together. "
        f"{_name(up['field']).capitalize()} is better {_better(up, 'higher up', 'further down')}, "
        f"{_name(across['field'])} {_better(across, 'to the right', 'to the left')}. The numbers "
        "count each agent’s front; its weakest part may lie outside the frame.",
        legend(contest, {label: f"{len(found)}" for label, found in fronts.items()}),
        layouts(lambda w: _fronts_layout(w, contest, (across, up), spots, fronts), width),
        ("agent", "seed", across["field"], up["field"], "on_front"),
        tuple(
            (label, *spot, int(spot[1:] in set(fronts[label])))
            for label, found in spots.items()
            for spot in found
        ),
        alt=f"Fronts of {up['field']} against {across['field']} on {contest.label}",
    )


def _better(objective: Result, high: str, low: str) -> str:
    return high if objective["better"] == "higher" else low


def _spots(contest: Contest, label: str, across: str, up: str) -> list[Spot]:
    found = [
        (run["seed"], network.get(across), network.get(up))
        for run in contest.of(label)
        for network in run["front"]
    ]
    known = [spot for spot in found if None not in spot]
    return known[:: -(-len(known) // CLOUD) or 1]


def front(spots: Sequence[Spot], across: Result, up: Result) -> list[tuple[float, float]]:
    """What no other spot beats in two objectives, the best across first."""
    signs = [1.0 if objective["better"] == "lower" else -1.0 for objective in (across, up)]
    found: list[tuple[float, float]] = []
    for _, x, y in sorted(spots, key=lambda s: (signs[0] * s[1], signs[1] * s[2])):
        if not found or signs[1] * y < signs[1] * found[-1][1]:
            found.append((x, y))
    return found


def _fronts_layout(
    width: int,
    contest: Contest,
    axes: tuple[Result, Result],
    spots: dict[str, list[Spot]],
    fronts: dict[str, list[tuple[float, float]]],
) -> Layout:
    across, up = axes
    y = _framed([point[1] for found in fronts.values() for point in found], up)
    shown = {k: [p for p in found if y[0] <= p[1] <= y[1]] for k, found in fronts.items()}
    xs = [point[0] for found in shown.values() for point in found]
    log = 0 < 5 * min(xs) < max(xs)
    x = (min(xs) * 0.93, max(xs) * 1.07) if log else padded(min(xs), max(xs))
    plot = Plot.of((width, 400 if width == WIDE else 350), x, y, log)
    marks = plot.frame(_texts(across["field"]), _texts(up["field"]), field_title(across["field"]))
    for label in reversed([label for label, found in shown.items() if found]):
        role = contest.roles[label]
        inside = [(a, b) for _, a, b in spots[label] if x[0] <= a <= x[1] and b <= y[1]]
        marks.append(plot.dots(f"small cloud {role}", inside))
        marks.append(Mark(f"line {role}", stairs(plot, shown[label], across), text=label))
        marks.append(plot.dots(role, shown[label]))
    return Layout(width, plot.height, tuple(marks))


def _framed(values: Sequence[float], up: Result) -> tuple[float, float]:
    """The range of the better part of all fronts: their ends would hide where they differ."""
    ranked = sorted(values, reverse=up["better"] == "higher")
    worst = ranked[max(round(KEPT * len(ranked)), 1) - 1]
    return padded(min(ranked[0], worst), max(ranked[0], worst), 0.12)


def stairs(plot: Plot, points: Sequence[tuple[float, float]], across: Result) -> str:
    """A path that keeps a value until a point beats it, on to the worse end of the axis."""
    moves = [f"H{plot.x(x):.1f}V{plot.y(y):.1f}" for x, y in points[1:]]
    end = plot.x.end if across["better"] == "lower" else plot.x.start
    return plot.at(*points[0]) + "".join(moves) + f"H{end:.1f}"


def _texts(field: str) -> Texts:
    return percent_texts if field == "accuracy" else _grouped


def _grouped(values: Sequence[float]) -> list[str]:
    """Numbers as text; large ones in thousands, so that they fit beside an axis."""
    if max(map(abs, values), default=0.0) >= 100_000:
        return [f"{text} k" for text in plain_texts([value / 1000 for value in values])]
    return plain_texts(values)


def hypervolume_figure(contest: Contest, width: int = HALF) -> Figure | None:
    """Mean hypervolume over evaluations; None where no run knows it."""
    table: Rows = {}
    count = contest.environment["evaluations"]
    grid = sorted({round(1 + i * (count - 1) / (GRID - 1)) for i in range(GRID)})
    for label in contest.ranked:
        steps = [run["hypervolume"] for run in contest.of(label) if run["hypervolume"]]
        if steps:
            table[label] = _mean_steps(steps, grid)
    if not table:
        return None
    lines = to_lines(contest, table)
    early = [y for line in lines for x, y in line.points if x >= count / 20]
    tops = [high for line in lines for _, _, high in line.band]
    scale = Scale((1, max(count, 2)), padded(min(early), max(tops)), "evaluations")
    return Figure(
        f"{contest.name}-hypervolume",
        "Hypervolume over time",
        "The volume of objectives that the networks found so far dominate, mean over the seeds "
        "with its 95 % band. It never falls; higher is better.",
        legend(contest, {label: f"{rows[-1][1]:.4g}" for label, rows in table.items()}),
        layouts(lambda w: lines_layout(w, 360 if w == WIDE else 350, lines, scale), width),
        ("agent", "evaluations", "hypervolume", "low", "high"),
        tuple((label, *row) for label, rows in table.items() for row in rows),
        alt=f"Mean hypervolume over evaluations on {contest.label}",
    )


def _mean_steps(
    runs: Sequence[Sequence[Sequence[float]]], grid: Sequence[int]
) -> list[tuple[float, float, float, float]]:
    """At each of some evaluations the mean over runs and its interval; 0 before the first step."""
    columns = []
    for steps in runs:
        at = np.array([step[0] for step in steps])
        values = np.array([0.0] + [step[1] for step in steps])
        columns.append(values[np.searchsorted(at, grid, side="right")])
    table = np.array(columns)  # (runs, grid)
    return [
        (x, float(column.mean()), *bootstrap_interval(column, draws=1000))
        for x, column in zip(grid, table.T, strict=True)
    ]


# ---------------------------------------------------------------------------- what came true, cost


def verified_figure(contest: Contest, width: int = HALF) -> Figure | None:
    """Predicted against verified reward of every run's winner; None where none was verified."""
    pairs = {
        label: [
            (run["seed"], run["verified"]["predicted_reward"], run["verified"]["reward"])
            for run in contest.of(label)
            if run["verified"]
        ]
        for label in contest.ranked
    }
    pairs = {label: found for label, found in pairs.items() if found}
    if not pairs:
        return None
    spots = [spot for found in pairs.values() for spot in found]
    x = padded(min(s[1] for s in spots), max(s[1] for s in spots))
    y = padded(min(s[2] for s in spots), max(s[2] for s in spots))

    def layout(w: int) -> Layout:
        plot = Plot.of((w, 400 if w == WIDE else 350), x, y)
        marks = plot.frame(plain_texts, plain_texts, "predicted reward")
        low, high = max(x[0], y[0]), min(x[1], y[1])
        if low < high:
            marks.append(Mark("usual", f"{plot.at(low, low)}L{plot.at(high, high)[1:]}"))
        for label in reversed(pairs):
            marks.append(
                plot.dots(f"large {contest.roles[label]}", [(a, b) for _, a, b in pairs[label]])
            )
        return Layout(w, plot.height, tuple(marks))

    return Figure(
        f"{contest.name}-verified",
        "Predicted against verified",
        "Each dot is the winner of a run: across the reward that the search saw, upwards the one "
        f"after really training it. On the thin line both agree. {agreement_text(contest)}".strip(),
        legend(contest, {label: f"{len(found)}" for label, found in pairs.items()}),
        layouts(layout, width),
        ("agent", "seed", "predicted_reward", "verified_reward"),
        tuple((label, *spot) for label, found in pairs.items() for spot in found),
        alt=f"Predicted against verified reward of the winners on {contest.label}",
    )


def agreement_text(contest: Contest) -> str:
    """How well predicted and verified rewards agree, in words; empty where it is not known."""
    known = contest.agreement
    if not known:
        return ""
    names = (("pearson", "Pearson"), ("spearman", "Spearman"), ("tau", "Kendall’s τ"))
    parts = [f"{name} {known[key]:.2f}" for key, name in names if known[key] is not None]
    return f"Over {known['n']} winners: {', '.join(parts)}." if parts else ""


def cost_figure(contest: Contest, width: int = HALF) -> Figure | None:
    """Wall time of every run, a lane an agent; None without runs."""
    lanes = []
    for label in contest.ranked:
        seconds = [max(float(run["seconds"]), 1e-3) for run in contest.of(label)]
        mean = sum(seconds) / len(seconds)
        note = f"{short_texts([mean])[0]} s"
        lanes.append(Lane(label, contest.roles[label], tuple(seconds), mean, None, note))
    if not lanes:
        return None
    values = [v for lane in lanes for v in lane.dots]
    track = Track((min(values) / 1.3, max(values) * 1.3), "wall seconds", short_texts, log=True)
    return Figure(
        f"{contest.name}-cost",
        "Seconds of a run",
        "Wall time of each run on this machine, the tick is the mean. A search pays for its "
        "evaluations and for its own thinking; the table has CPU time and trainings.",
        (),
        layouts(lambda w: lanes_layout(w, lanes, track), width),
        ("agent", "seed", "wall_seconds", "cpu_seconds"),
        tuple(
            (label, run["seed"], run["seconds"], run["cpu_seconds"])
            for label in contest.ranked
            for run in contest.of(label)
        ),
        alt=f"Wall seconds of all runs on {contest.label}",
    )
