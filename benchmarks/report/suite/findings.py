"""What a suite found, in words: the result, what is missing, and what to be careful about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.report.suite.contest import Contest
from benchmarks.report.suite.samplers import sampler_notes
from benchmarks.report.suite.tables import LEVEL, best_run, device_of, seconds_text
from benchmarks.suites.result import Result

ENOUGH = 10  # seeds; fewer leave differences to chance
LISTED = 12  # groups of missing runs that are spelled out


def headline(result: Result, found: Sequence[Contest]) -> str:
    """Who beats the baseline, in one sentence."""
    if not result["runs"]:
        return "No run has finished yet"
    base, wins = baseline_of(found), victories(found)
    if not wins:
        return f"No agent beats {base} by more than chance"
    if len(found) == 1:
        others = f"; so do {len(wins) - 1} more" if len(wins) > 1 else ""
        return f"{_first(found[0], wins)} beats {base} by more than chance{others}"
    best = max(wins, key=lambda label: (wins[label], _verified_wins(found, label)))
    where = f"all {len(found)}" if wins[best] == len(found) else f"{wins[best]} of {len(found)}"
    return f"{best} beats {base} by more than chance on {where} problems"


def baseline_of(found: Sequence[Contest]) -> str:
    """Against what all are tested, in words; each environment may have its own random search."""
    names = {contest.baseline for contest in found}
    return names.pop() if len(names) == 1 else "random search"


def victories(found: Sequence[Contest]) -> dict[str, int]:
    """In how many environments each agent lies above the baseline; only those that do."""
    counts = {
        label: sum(bool(contest.figure(label, "better_than_baseline")) for contest in found)
        for label in (found[0].ranked if found else ())
    }
    everyone = {label for contest in found for label in contest.roles}
    for label in sorted(everyone - set(counts)):
        counts[label] = sum(bool(c.figure(label, "better_than_baseline")) for c in found)
    return {label: count for label, count in counts.items() if count}


def _verified_wins(found: Sequence[Contest], label: str) -> int:
    ps = [contest.figure(label, "verified_p_holm") for contest in found]
    return sum(p is not None and p < LEVEL for p in ps)


def _first(contest: Contest, wins: dict[str, int]) -> str:
    return next((label for label in contest.ranked if label in wins), next(iter(wins)))


def lead(result: Result, found: Sequence[Contest]) -> str:
    """How it was compared, and who leads where."""
    agents, seeds = len(result["agents"]), result["seeds"]
    lines = [
        f"{result['title']}: {agents} agents, {_count(len(found), 'environment')}, "
        f"{_count(seeds, 'seed')} each, all at the same number of evaluations.",
    ]
    leaders = [f"{c.ranked[0]} on {c.label}" for c in found if c.ranked]
    if leaders and len(leaders) <= 4:
        lines.append(f"Highest mean reward: {'; '.join(leaders)}.")
    lines.append(
        f"Differences are tested one-sided by rank and Holm-corrected, at {100 * LEVEL:g}\u00a0%."
    )
    return " ".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def missing(result: Result) -> dict[str, Any] | None:
    """What an interrupted suite lacks: a sentence, and its runs; None where all is there."""
    if result["finished"] and not result["missing"]:
        return None
    groups: dict[tuple[str, str], list[int]] = {}
    for run in result["missing"]:
        groups.setdefault((str(run["env"]), str(run["agent"])), []).append(run["seed"])
    lines = [
        f"{agent} on {env}: {'seeds' if len(seeds) > 1 else 'seed'} "
        f"{', '.join(map(str, sorted(seeds)))}"
        for (env, agent), seeds in groups.items()
    ]
    count = len(result["missing"])
    total = count + len(result["runs"])
    what = f"{count:,} of {total:,} runs are missing" if count else "some runs are missing"
    return {
        "text": f"This suite is not finished: {what}. Everything below is of what is there; means, "
        "intervals and tests will change.",
        "lines": lines[:LISTED],
        "more": max(len(lines) - LISTED, 0),
        "command": str(result["command"]),
    }


def tiles(result: Result, found: Sequence[Contest]) -> list[dict[str, str]]:
    """The four numbers at the top."""
    runs, total = result["runs"], len(result["runs"]) + len(result["missing"])
    wins, rivals = victories(found), len(result["agents"]) - 1
    wall, cpu = (sum(run[key] or 0.0 for run in runs) for key in ("seconds", "cpu_seconds"))
    trained = sum(run["trainings"] or 0.0 for run in runs)
    trained += sum(run["verified"]["trainings"] for run in runs if run["verified"])
    trainings = f", {trained:,.0f} trainings" if trained else ""
    distinct = sum(run["distinct"] for run in runs)
    evaluations = sum(run["evaluations"] for run in runs)
    done = "finished" if total == len(runs) and result["finished"] else "interrupted"
    return [
        {
            "title": f"Beat {baseline_of(found)}",
            "value": f"{len(wins)} of {rivals}",
            "detail": "by more than chance" + (" on some problem" if len(found) > 1 else ""),
        },
        {"title": "Runs", "value": f"{len(runs):,} of {total:,}", "detail": done},
        {
            "title": "Evaluations",
            "value": f"{evaluations:,}",
            "detail": f"{distinct:,} distinct within their runs",
        },
        {
            "title": "Time",
            "value": seconds_text(wall),
            "detail": f"CPU {seconds_text(cpu)}{trainings}",
        },
    ]


def warnings(result: Result, found: Sequence[Contest]) -> list[str]:
    """What a careful reader would ask."""
    notes = []
    if result["seeds"] < ENOUGH:
        few = _count(result["seeds"], "seed")
        notes.append(f"Only {few}: with fewer than {ENOUGH}, most differences are left to chance.")
    for contest in found:
        notes += _verified_warnings(contest)
    notes += sampler_notes(result)
    return notes + _device_notes(found)


def _verified_warnings(contest: Contest) -> list[str]:
    notes = []
    lost = [label for label in contest.ranked if _only_predicted(contest, label)]
    if lost:
        names = ", ".join(f"“{label}”" for label in lost)
        notes.append(
            f"{contest.label}: in the reward that the search saw, {names} "
            f"{'beat' if len(lost) > 1 else 'beats'} {contest.baseline}; really trained, the "
            "winners do not by more than chance."
        )
    rank = (contest.agreement or {}).get("spearman")
    if rank is not None and rank < 0.3:
        notes.append(
            f"{contest.label}: predicted and verified rewards of the winners hardly rank alike "
            f"(Spearman {rank:.2f}); small leads there mean little."
        )
    return notes


def _only_predicted(contest: Contest, label: str) -> bool:
    p = contest.figure(label, "verified_p_holm")
    return bool(contest.figure(label, "better_than_baseline")) and p is not None and p >= LEVEL


def _device_notes(found: Sequence[Contest]) -> list[str]:
    """Whether another device has another best network, where all else is the same."""
    notes = []
    for i, one in enumerate(found):
        for other in found[i + 1 :]:
            mine, theirs = best_run(one), best_run(other)
            if mine is None or theirs is None or not _only_device(one, other):
                continue
            alike = mine["winner"]["tokens"] == theirs["winner"]["tokens"]
            how = "the same on" if alike else "not the same on"
            notes.append(
                f"The best network found is {how} {device_of(one)} and {device_of(other)}."
            )
    return notes


def _only_device(one: Contest, other: Contest) -> bool:
    """Whether two problems differ in nothing but the device and what its reward scales by it."""
    a, b = one.environment["problem"], other.environment["problem"]
    kept = ("space", "space_fingerprint", "task", "budgets", "lengths")
    named = all(key in a and a[key] == b.get(key) for key in kept)
    return named and bool(device_of(one)) and device_of(one) != device_of(other)
