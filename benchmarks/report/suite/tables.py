"""The tables of a suite's report, as texts: one source for the page and for Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.report.suite.contest import Contest
from benchmarks.report.suite.figures import median_reached, top_shares
from benchmarks.suites.result import Result
from emnas_gym.rendering.gauges import GAUGES, quantity

LEVEL = 0.05  # of a test, after Holm's correction
SHOWN = 60  # tokens of a network that a table shows
DASH = "–"


@dataclass(frozen=True)
class Cell:
    """A value and what stands small below it.

    Attributes:
        text: The value.
        detail: Its interval, count or origin.
        role: Classes: ``"better"``, or of an agent's colour.
    """

    text: str
    detail: str = ""
    role: str = ""


@dataclass(frozen=True)
class Grid:
    """One table.

    Attributes:
        name: Its id.
        title: Says what is seen.
        caption: Says how to read it.
        header: Names of the columns; the first one names the rows.
        rows: As many cells each.
    """

    name: str
    title: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


Column = tuple[str, Callable[[Contest, str], Cell]]


def _grid(contest: Contest, name: str, title: str, caption: str, columns: Sequence[Column]) -> Grid:
    """A row an agent; a column of which nothing is known is left out."""
    drawn = [(head, [cell(contest, label) for label in contest.ranked]) for head, cell in columns]
    known = [(head, cells) for head, cells in drawn if any(cell.text != DASH for cell in cells)]
    first = [agent_cell(contest, label) for label in contest.ranked]
    return Grid(
        f"{contest.name}-{name}",
        title,
        caption,
        ("agent", *(head for head, _ in known)),
        tuple(zip(first, *(cells for _, cells in known), strict=True)),
    )


def agent_cell(contest: Contest, label: str) -> Cell:
    """An agent's name with its colour."""
    detail = "baseline" if label == contest.baseline else ""
    return Cell(label, detail, contest.roles[label])


# ----------------------------------------------------------------------------------- leaderboard


def leaderboard(contest: Contest) -> Grid:
    """What each agent found, and what is larger than chance."""
    columns: list[Column] = [
        ("best reward", _mean),
        ("IQM", lambda c, a: _value(c.figure(a, "iqm"), c.figure(a, "iqm_interval"))),
        ("larger than chance", _chance),
        ("beats baseline", _improvement),
        ("regret", lambda c, a: _run_mean(c, a, "regret")),
        ("test", lambda c, a: _run_mean(c, a, "test")),
        ("verified", _verified),
        ("verified, chance", _verified_chance),
    ]
    return _grid(
        contest,
        "table",
        "Leaderboard",
        "Means over the seeds with 95 % intervals; IQM is the mean of the middle half. p is that "
        "of a one-sided Mann–Whitney test against the baseline, Holm-corrected over the agents; ▲ "
        f"where it is below {LEVEL:g}. “Beats baseline” is how often a run finds a better network "
        "than one of the baseline.",
        columns,
    )


def _mean(contest: Contest, label: str) -> Cell:
    cell = _value(contest.figure(label, "mean"), contest.figure(label, "interval"))
    return Cell(cell.text, cell.detail, "strong")


def _value(value: float | None, interval: Sequence[float] | None) -> Cell:
    if value is None:
        return Cell(DASH)
    return Cell(f"{value:.4f}", f"{interval[0]:.4f}–{interval[1]:.4f}" if interval else "")


def _chance(contest: Contest, label: str) -> Cell:
    if contest.figure(label, "better_than_baseline"):
        return Cell("▲ yes", p_text(contest.figure(label, "p_holm")), "better")
    p = contest.figure(label, "p_holm")
    return Cell(DASH if p is None else "no", "" if p is None else p_text(p))


def p_text(p: float | None) -> str:
    """A p-value, never more exact than it is useful."""
    if p is None:
        return ""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def _improvement(contest: Contest, label: str) -> Cell:
    known = contest.figure(label, "probability_of_improvement")
    if known is None or label == contest.baseline:
        return Cell(DASH)
    interval = known["interval"]
    spread = f"{100 * interval[0]:.0f}–{100 * interval[1]:.0f} %" if interval else ""
    return Cell(f"{100 * known['value']:.0f} %", spread)


def _run_mean(contest: Contest, label: str, key: str) -> Cell:
    values = [run[key] for run in contest.of(label) if run[key] is not None]
    if not values:
        return Cell(DASH)
    zero = sum(abs(v) < 1e-12 for v in values) if key == "regret" else 0
    detail = f"optimum {zero} of {len(values)}" if key == "regret" else ""
    return Cell(f"{sum(values) / len(values):.4f}", detail)


def _verified(contest: Contest, label: str) -> Cell:
    names = ("verified_mean", "verified_interval")
    return _value(*(contest.figure(label, name) for name in names))


def _verified_chance(contest: Contest, label: str) -> Cell:
    p = contest.figure(label, "verified_p_holm")
    if p is None:
        return Cell(DASH)
    return Cell("▲ yes" if p < LEVEL else "no", p_text(p), "better" if p < LEVEL else "")


# ------------------------------------------------------------------------------------------- cost


def costs(contest: Contest) -> Grid:
    """What each agent took, in every currency that was counted."""
    columns: list[Column] = [
        ("best reward", lambda c, a: _value(c.figure(a, "mean"), None)),
        ("wall time", lambda c, a: _total(c, a, "seconds", seconds_text)),
        ("CPU time", lambda c, a: _total(c, a, "cpu_seconds", seconds_text)),
        ("evaluations", _evaluations),
        ("trainings", lambda c, a: _total(c, a, "trainings", _short_number)),
        ("simulated training", lambda c, a: _total(c, a, "simulated_seconds", seconds_text)),
        ("illegal steps", _invalid),
        ("last tenth", lambda c, a: _run_mean(c, a, "late_mean")),
    ]
    return _grid(
        contest,
        "costs",
        "What a run costs",
        "Means of a run. Trainings are full-training equivalents; simulated training is what "
        "training the measured networks would have taken by the table. The last tenth is the mean "
        "reward of the last tenth of the evaluations.",
        columns,
    )


def _total(contest: Contest, label: str, key: str, write: Callable[[float], str]) -> Cell:
    values = [run[key] for run in contest.of(label) if run[key] is not None]
    return Cell(write(sum(values) / len(values)) if values else DASH)


def seconds_text(seconds: float) -> str:
    """A duration in the unit that suits it."""
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def _short_number(value: float) -> str:
    return f"{value:,.1f}".removesuffix(".0")


def _evaluations(contest: Contest, label: str) -> Cell:
    runs = contest.of(label)
    mean, distinct = (sum(run[k] for run in runs) / len(runs) for k in ("evaluations", "distinct"))
    return Cell(f"{mean:,.0f}", f"{distinct:,.0f} distinct")


def _invalid(contest: Contest, label: str) -> Cell:
    steps, invalid = (sum(r[k] for r in contest.of(label)) for k in ("steps", "invalid_steps"))
    return Cell(f"{100 * invalid / steps:.1f} %" if steps else DASH)


# ---------------------------------------------------------------------------------- top, winners


def tops(contest: Contest) -> Grid | None:
    """Median evaluations to the best few; None where they are not known."""
    shares = top_shares(contest)
    if not shares:
        return None
    columns: list[Column] = [(f"best {share} %", _reach(share)) for share in shares]
    if any(run["regret"] is not None for run in contest.runs):
        columns.append(("the optimum", _optimum))
    return _grid(
        contest,
        "reached",
        "Evaluations to the best few",
        "Median evaluations until a run first measures a network among the best of the space (or "
        "of a random sample of it), and how many runs did.",
        columns,
    )


def _optimum(contest: Contest, label: str) -> Cell:
    runs = contest.of(label)
    return _reached([run["best_at"] if run["regret"] == 0.0 else None for run in runs])


def _reach(share: str) -> Callable[[Contest, str], Cell]:
    def cell(contest: Contest, label: str) -> Cell:
        return _reached([run["to_top"].get(share) for run in contest.of(label)])

    return cell


def _reached(found: Sequence[float | None]) -> Cell:
    median, count = median_reached(found), sum(v is not None for v in found)
    text = "over half never" if median is None else f"{median:,.0f}"
    return Cell(text, f"{count} of {len(found)} runs")


def winners(found: Sequence[Contest]) -> Grid:
    """The best network of every environment."""
    return Grid(
        "winners",
        "The best network of each environment",
        "Of all agents and seeds, with what was measured of it. ≈ marks a latency that follows "
        "from a count, not from a stopwatch.",
        ("environment", "reward", "found by", "measured", "network"),
        tuple(_winner(contest, best) for contest in found if (best := best_run(contest))),
    )


def best_run(contest: Contest) -> Result | None:
    """The run of highest reward; the first of equals."""
    return max(contest.runs, key=lambda run: float(run["best"]), default=None)


def _winner(contest: Contest, run: Result) -> tuple[Cell, ...]:
    tokens = " ".join(map(str, run["winner"]["tokens"][:SHOWN]))
    more = " …" if len(run["winner"]["tokens"]) > SHOWN else ""
    return (
        Cell(contest.label, device_of(contest)),
        Cell(f"{run['best']:.4f}", f"at evaluation {run['best_at']:,}"),
        Cell(str(run["agent"]), f"seed {run['seed']}"),
        Cell(measured_text(run["winner"]["measurement"])),
        Cell(tokens + more, "", "mono"),
    )


def device_of(contest: Contest) -> str:
    """Name of the device, or nothing."""
    return str(contest.environment["problem"].get("device") or "")


def measured_text(measurement: Result) -> str:
    """Accuracy and costs in one line."""
    known: list[str] = []
    for name in ("accuracy", *GAUGES):
        value: Any = measurement.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            known.append(_measured(measurement, name, value))
    return ", ".join(known) or DASH


def _measured(measurement: Result, name: str, value: float) -> str:
    origins = measurement.get("provenance")
    origin = origins.get(name) if isinstance(origins, dict) else None
    about = "≈ " if name == "latency_ms" and origin in ("analytic", "emulated-insn") else ""
    title = {"accuracy": ""}.get(name, f"{GAUGES.get(name, name)} ")
    return f"{title}{about}{quantity(name, value)}"


def overview(found: Sequence[Contest]) -> Grid | None:
    """Means of all agents in all environments; None where there is but one."""
    if len(found) < 2:
        return None
    labels = list(found[0].roles)
    return Grid(
        "overview",
        "All environments",
        "Mean best rewards; ▲ lies above the baseline by more than chance.",
        ("agent", *(contest.label for contest in found)),
        tuple(
            (agent_cell(found[0], a), *(_overview(contest, a) for contest in found)) for a in labels
        ),
    )


def _overview(contest: Contest, label: str) -> Cell:
    cell = _mean(contest, label)
    better = contest.figure(label, "better_than_baseline")
    role = "better" if better else "strong" if contest.ranked[:1] == [label] else ""
    return Cell(f"{cell.text} ▲" if better else cell.text, cell.detail, role)
