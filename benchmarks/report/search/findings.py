"""What a search found, in words: the result, how it compares, and what to be careful about."""

from __future__ import annotations

import re

from benchmarks.report.charts import Summary
from benchmarks.report.search.figures import runs, trials
from benchmarks.report.search.winner_figures import winner_gauges
from emnas_gym.rendering.boxes import shape_text
from emnas_gym.rendering.gauges import COUNTED, quantity


def winner(summary: Summary) -> Summary:
    """The entry of the winner: the exported network, else the first."""
    rank = (summary.get("export") or {}).get("rank")
    found = [w for w in summary["winners"] if w["rank"] == rank]
    alike = [w for w in summary["winners"] if w["tokens"] == summary["best"]["tokens"]]
    return next(iter([*found, *alike]), {})


def headline(summary: Summary) -> str:
    """What was found, in one sentence."""
    known, verified = summary["best"]["measurement"], winner(summary).get("verified")
    accuracy = verified["mean"] if verified else known.get("accuracy")
    how = "gets" if verified else "is predicted to get"
    layers = len(summary["best"]["layers"])
    right = f" {how} {quantity('accuracy', accuracy)} right" if accuracy is not None else ""
    latency = f" in {latency_text(known)}" if known.get("latency_ms") is not None else ""
    task = tail(str(summary["problem"]["task"]))
    return f"A {layers}-layer network for {task}{right}{latency} on {_where(summary)}"


def glued(text: str) -> str:
    """The text with numbers and their units kept on one line."""
    return re.sub(r"(?<=[\d≈±]) (?=[\d%a-zA-Z]+)", "\u00a0", text)


def device_title(summary: Summary) -> str:
    """Name of the device for people."""
    device = summary["device"]
    return str(device.get("title") or device["name"])


def _where(summary: Summary) -> str:
    """The device inside a sentence."""
    title = device_title(summary)
    return f"this{title[4:]}" if title.startswith("This") else f"the {title}"


def tail(name: str) -> str:
    """A name, or the last part of a path."""
    return name.replace("\\", "/").rstrip("/").rpartition("/")[2] or name


def problem_text(summary: Summary) -> str:
    """Space, task and device in one line."""
    problem = summary["problem"]
    shape = shape_text(problem["input_shape"])
    return f"{problem['space']}, {tail(str(problem['task']))} {shape}, {device_title(summary)}"


def lead(summary: Summary) -> str:
    """How it was found, and how it compares."""
    count, distinct = summary["evaluations"], summary["distinct"]
    sentences = [
        f"Found by {summary['agent']['name']} in {count:,} evaluations ({distinct:,} distinct "
        f"networks) and {_duration(summary['seconds'])}, seed {summary['seed']}.",
        *comparisons(summary),
    ]
    return " ".join(sentences)


def comparisons(summary: Summary) -> list[str]:
    """The result beside random search, as predicted and as verified."""
    ours, theirs = bests(summary)
    sentences = []
    if ours is not None and theirs is not None:
        sentences.append(
            f"Its best predicted reward {ours:.4f} is {_versus(ours, theirs)} random search at as "
            "many evaluations, the stronger of its samplers."
        )
    verified, rival = winner(summary).get("verified"), summary.get("random_verified")
    if verified and rival and None not in (verified.get("reward"), rival.get("reward")):
        sentences.append(
            f"Really trained, the winner's reward {verified['reward']:.4f} is "
            f"{_versus(verified['reward'], rival['reward'])} random search's best, trained alike."
        )
    return sentences


def bests(summary: Summary) -> tuple[float | None, float | None]:
    """Best reward of the agent, and of the stronger sampler of random search."""
    found = [(run.role == "agent", run.best[-1][1]) for run in runs(summary) if run.best]
    ours = max((reward for is_agent, reward in found if is_agent), default=None)
    return ours, max((reward for is_agent, reward in found if not is_agent), default=None)


def _versus(ours: float, theirs: float) -> str:
    difference = round(ours - theirs, 4)
    if not difference:
        return "equal to that of"
    return f"{abs(difference):.4f} {'above' if difference > 0 else 'below'} that of"


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{seconds:.0f} s" if minutes < 2 else f"{minutes:,.1f} min"


def warnings(summary: Summary) -> list[str]:
    """What a reader must know before believing the numbers."""
    ours, theirs = bests(summary)
    over = [g for g in winner_gauges(summary) if g.over]
    found = [f"The winner exceeds its budget of {g.title}: {g.text} {g.limit_text}." for g in over]
    if not trials(summary):
        found.append("No winner was trained: every accuracy here is a prediction.")
    if ours is not None and theirs is not None and theirs >= ours:
        found.append("Random search found a network that is as good or better: prefer it.")
    verified = winner(summary).get("verified") or {}
    predicted = summary["best"]["measurement"].get("accuracy")
    if verified and predicted is not None and abs(predicted - verified["mean"]) > 0.03:
        gap = 100 * abs(predicted - verified["mean"])
        found.append(f"The winner's predicted accuracy is {gap:.1f} points off its verified one.")
    export = summary.get("export") or {}
    lost = 100 * ((export.get("float_accuracy") or 0) - (export.get("int8_accuracy") or 0))
    if lost > 1:
        found.append(f"Quantisation to int8 cost {lost:.1f} points of accuracy.")
    if summary["failed"]:
        found.append(f"{summary['failed']:,} of {summary['evaluations']:,} evaluations failed.")
    return found


def origin_of(known: Summary, name: str) -> str:
    """Provenance of a measured number."""
    return str((known.get("provenance") or {}).get(name, "unknown"))


def percent_text(value: float | None) -> str:
    """A share for people; a dash where it is not known."""
    return "–" if value is None else quantity("accuracy", value)


def latency_text(known: Summary) -> str:
    """The latency for people, marked where it follows from a count."""
    value = known.get("latency_ms")
    if value is None:
        return "–"
    about = "≈ " if origin_of(known, "latency_ms") in COUNTED else ""
    return about + quantity("latency_ms", value)
