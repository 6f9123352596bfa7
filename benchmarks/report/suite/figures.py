"""Figures of a suite that say who finds better networks, how soon, and how surely."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmarks.report.charts import (
    NARROW,
    WIDE,
    Figure,
    Layout,
    padded,
    percent_texts,
    plain_texts,
    short,
)
from benchmarks.report.lanes import Lane, Track, lanes_layout
from benchmarks.report.lines import Line, Scale, lines_layout
from benchmarks.report.suite.contest import Contest

Legend = tuple[tuple[str, str, str], ...]
DRAWN_TOPS = (
    2  # shares of the space in the picture, the hardest that any run reached; its data has all
)


def layouts(draw: Callable[[int], Layout], width: int) -> tuple[Layout, Layout]:
    """One for a desk, of a width, and one for a phone."""
    return draw(width), draw(NARROW)


def leaderboard_figure(contest: Contest, width: int = WIDE) -> Figure | None:
    """The best reward of every run, a lane an agent; None without runs."""
    lanes = [_best_lane(contest, label) for label in contest.ranked]
    if not lanes:
        return None
    span = padded(*_range(v for lane in lanes for v in lane.values))
    mark = contest.figure(contest.baseline, "mean")
    if mark is not None and not span[0] <= mark <= span[1]:
        mark = None
    track = Track(span, "best reward of a run", mark=mark)
    return Figure(
        f"{contest.name}-leaderboard",
        "Who finds the best networks",
        "A dot is the best reward of one run, the tick the mean, the bar its 95 % interval; the "
        f"thin line is the mean of {contest.baseline}. ▲ marks what lies above it by more than "
        "chance.",
        (),
        layouts(lambda w: lanes_layout(w, lanes, track), width),
        ("agent", "seed", "best_reward"),
        tuple((a, run["seed"], run["best"]) for a in contest.ranked for run in contest.of(a)),
        alt=_spoken(contest, "Best rewards of all runs", lanes),
    )


def _best_lane(contest: Contest, label: str) -> Lane:
    mean, interval = (contest.figure(label, name) for name in ("mean", "interval"))
    better = " ▲" if contest.figure(label, "better_than_baseline") else ""
    return Lane(
        label,
        contest.roles[label],
        tuple(run["best"] for run in contest.of(label)),
        mean,
        tuple(interval) if interval else None,
        "" if mean is None else f"{mean:.4f}{better}",
    )


def _spoken(contest: Contest, what: str, lanes: Sequence[Lane]) -> str:
    parts = [f"{lane.label} {lane.note}" for lane in lanes]
    return f"{what} on {contest.label}: {'; '.join(parts)}"


def _range(values: Iterable[float]) -> tuple[float, float]:
    known = list(values)
    return min(known), max(known)


# ---------------------------------------------------------------------------------------- curves


def curves_figure(contest: Contest, width: int = WIDE) -> Figure | None:
    """Mean best reward so far with its band; None where there are no curves."""
    table = banded(contest, contest.curves, "evaluations", "mean")
    if not table:
        return None
    lines = to_lines(contest, table)
    count = max(line.points[-1][0] for line in lines)
    early = [y for line in lines for x, y in line.points if x >= count / 20]
    tops = [high for line in lines for _, _, high in line.band]
    scale = Scale((1, max(count, 2)), padded(min(early), max(tops)), "evaluations")
    return Figure(
        f"{contest.name}-curves",
        "Best reward so far",
        "Mean over the seeds, with its 95 % band. All agents have the same number of evaluations.",
        legend(contest, {label: f"{rows[-1][1]:.4f}" for label, rows in table.items()}),
        layouts(lambda w: lines_layout(w, 380 if w == WIDE else 320, lines, scale), width),
        ("agent", "evaluations", "mean", "low", "high"),
        tuple((label, *row) for label, rows in table.items() for row in rows),
        alt=f"Mean best reward so far over evaluations on {contest.label}",
    )


Rows = dict[str, list[tuple[float, float, float, float]]]  # of each agent x, middle, low, high


def banded(contest: Contest, table: Any, axis: str, middle: str) -> Rows:  # noqa: ANN401
    """The columns of a table of bands as rows, the best agent first."""
    agents: Mapping[str, Any] = table["agents"] if table and table[axis] else {}
    found = {}
    for label in contest.ranked:
        if label in agents:
            columns = (agents[label][name] for name in (middle, "low", "high"))
            found[label] = list(zip(table[axis], *columns, strict=True))
    return found


def to_lines(contest: Contest, table: Rows) -> list[Line]:
    """Lines with their bands."""
    return [
        Line(
            label,
            contest.roles[label],
            [(x, y) for x, y, _, _ in rows],
            [(x, low, high) for x, _, low, high in rows],
        )
        for label, rows in table.items()
    ]


def legend(contest: Contest, values: Mapping[str, str]) -> Legend:
    """Each agent's colour, name and number."""
    return tuple((contest.roles[label], label, value) for label, value in values.items())


def regret_figure(contest: Contest, width: int = WIDE) -> Figure | None:
    """How far the best so far lies below the optimum; None where that is not known."""
    optimum = contest.environment["optimum"]
    table = banded(contest, contest.curves, "evaluations", "mean")
    if optimum is None or not table:
        return None
    top = optimum["reward"]
    regret = {
        label: [(x, top - mean, top - high, top - low) for x, mean, low, high in rows]
        for label, rows in table.items()
    }
    lines = to_lines(contest, regret)
    positive = [y for rows in regret.values() for _, y, _, _ in rows if y > 0]
    if not positive:
        return None
    count = max(line.points[-1][0] for line in lines)
    span = (max(min(positive) / 1.6, max(positive) * 1e-6), max(positive) * 1.2)
    scale = Scale((1, max(count, 2)), span, "evaluations", y_texts=short_texts, log_y=True)
    return Figure(
        f"{contest.name}-regret",
        "Regret: what is still missing to the optimum",
        f"The best reward there is, {top:.4f}, less the mean best so far, on a logarithmic scale, "
        "with the 95 % band. A line that reaches the floor has found the optimum in every run.",
        legend(contest, {label: f"{rows[-1][1]:.2g}" for label, rows in regret.items()}),
        layouts(lambda w: lines_layout(w, 360 if w == WIDE else 330, lines, scale), width),
        ("agent", "evaluations", "regret", "low", "high"),
        tuple((label, *row) for label, rows in regret.items() for row in rows),
        alt=f"Mean regret over evaluations on {contest.label}",
    )


def short_texts(values: Sequence[float]) -> list[str]:
    """Numbers of many magnitudes, each as short as it can be."""
    return [f"{value:.3g}" for value in values]


def profile_figure(contest: Contest, width: int = WIDE) -> Figure | None:
    """Share of runs that reach a reward, over rewards; None where it is not known."""
    table = banded(contest, contest.profile, "reward", "share")
    if not table:
        return None
    lines = to_lines(contest, table)
    span = _range(x for line in lines for x, _ in line.points)
    if span[0] == span[1]:
        return None
    scale = Scale(span, (0, 1.02), "reward", y_texts=percent_texts, named=False)
    return Figure(
        f"{contest.name}-profile",
        "Performance profile",
        "The share of runs whose best network has at least this reward, with the 95 % band. "
        "Further up and to the right is better.",
        legend(contest, dict.fromkeys(table, "")),
        layouts(lambda w: lines_layout(w, 360 if w == WIDE else 330, lines, scale), width),
        ("agent", "reward", "share", "low", "high"),
        tuple((label, *row) for label, rows in table.items() for row in rows),
        alt=f"Share of runs that reach a reward on {contest.label}",
    )


# ----------------------------------------------------------------------------------------- lanes


def improvement_figure(contest: Contest, width: int = WIDE) -> Figure | None:
    """Probability that a run beats one of the baseline; None where it is not known."""
    lanes, rows = [], []
    for label in contest.ranked:
        known = contest.figure(label, "probability_of_improvement")
        if known is None or label == contest.baseline:
            continue
        interval = tuple(known["interval"]) if known["interval"] else None
        note = percent_texts([known["value"]])[0]
        lanes.append(Lane(label, contest.roles[label], (), known["value"], interval, note))
        rows.append((label, known["value"], *(interval or (None, None))))
    if not lanes:
        return None
    title = f"probability of beating {short(contest.baseline, 20)}"
    track = Track((0, 1), title, percent_texts, mark=0.5)
    return Figure(
        f"{contest.name}-improvement",
        "Probability of improvement",
        f"How often a run finds a better network than a run of {contest.baseline}, with the 95 % "
        "interval. At the thin line, 50 %, neither is better.",
        (),
        layouts(lambda w: lanes_layout(w, lanes, track), width),
        ("agent", "probability", "low", "high"),
        tuple(rows),
        alt=_spoken(contest, f"Probability of beating {contest.baseline}", lanes),
    )


def tops_figure(contest: Contest, width: int = WIDE) -> Figure | None:
    """Evaluations until a network among the best few is found; None where it is not known."""
    shares = top_shares(contest)
    lanes: list[Lane] = []
    reachable = [p for p in shares if any(run["to_top"].get(p) for run in contest.runs)]
    for share in reachable[-DRAWN_TOPS:]:
        lanes.append(Lane(f"best {share} % of the space"))
        lanes += [_top_lane(contest, label, share) for label in contest.ranked]
    reached = [v for lane in lanes for v in lane.values]
    if not reached:
        return None
    span = (max(min(reached) * 0.8, 0.8), max(contest.environment["evaluations"], 2) * 1.1)
    track = Track(span, "evaluations", plain_texts, log=True)
    return Figure(
        f"{contest.name}-tops",
        "Evaluations to the best few",
        "A dot is the evaluation at which a run first measured a network among the best of the "
        "space (or of a random sample of it); the tick is the median over all runs, those that "
        "never did counted as endless. The data has the other shares as well.",
        (),
        layouts(lambda w: lanes_layout(w, lanes, track), width),
        ("agent", "seed", "best_percent", "evaluations"),
        tuple(
            (label, run["seed"], share, run["to_top"].get(share))
            for share in shares
            for label in contest.ranked
            for run in contest.of(label)
        ),
        alt=f"Evaluations until a network among the best few is found on {contest.label}",
    )


def top_shares(contest: Contest) -> list[str]:
    """The shares of the space whose discovery was counted, the largest first."""
    return sorted({p for run in contest.runs for p in run["to_top"]}, key=float, reverse=True)


def _top_lane(contest: Contest, label: str, share: str) -> Lane:
    found = [run["to_top"].get(share) for run in contest.of(label)]
    reached = tuple(float(v) for v in found if v is not None)
    note = f"{len(reached)} of {len(found)} runs"
    return Lane(label, contest.roles[label], reached, median_reached(found), None, note)


def median_reached(found: Sequence[float | None]) -> float | None:
    """Median with None as endless; None where the median is endless."""
    ranked = sorted(float("inf") if v is None else float(v) for v in found)
    half = len(ranked) // 2
    middle = ranked[half] if len(ranked) % 2 else sum(ranked[half - 1 : half + 1]) / 2
    return middle if ranked and middle < float("inf") else None
