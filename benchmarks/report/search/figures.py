"""Figures of a search: rewards over evaluations, accuracy against latency, what came true."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.report.charts import (
    HALF,
    NARROW,
    WIDE,
    Figure,
    Layout,
    Mark,
    Plot,
    Summary,
    finite,
    padded,
    percent_texts,
    plain_texts,
)
from emnas_gym.rendering.gauges import quantity


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
    low, high = padded(min(early), max(run.best[-1][1] for run in searched))

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
    low, high = padded(accuracies[len(accuracies) // 3], accuracies[-1])
    hidden = sum(y < low for y in accuracies)
    best = summary["best"]["measurement"]
    chosen = finite([best.get("latency_ms"), best.get("accuracy")])

    def layout(width: int, height: int) -> Layout:
        x = (fast * 0.93, slow * 1.07) if log else padded(fast, slow)
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
    low, high = padded(min(values), max(values))

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
