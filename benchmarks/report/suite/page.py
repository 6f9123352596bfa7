"""The report of a suite: one HTML file that needs nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.report.charts import HALF, WIDE, Figure, csv_text
from benchmarks.report.markup import page_environment
from benchmarks.report.search.view import pairs_text
from benchmarks.report.suite.contest import Contest, contests
from benchmarks.report.suite.figures import (
    curves_figure,
    improvement_figure,
    leaderboard_figure,
    profile_figure,
    regret_figure,
    tops_figure,
)
from benchmarks.report.suite.findings import headline, lead, missing, tiles, warnings
from benchmarks.report.suite.tables import Grid, costs, leaderboard, overview, tops, winners
from benchmarks.report.suite.trade_figures import (
    cost_figure,
    hypervolume_figure,
    pareto_figure,
    verified_figure,
)
from benchmarks.suites.result import Result, check_result

MOST_EMBEDDED = 2**20  # bytes of a result that its page carries whole
COLUMNS = (
    "env", "agent", "seed", "best", "best_at", "late_mean", "regret", "test", "test_regret",
    "evaluations", "distinct", "steps", "invalid_steps", "seconds", "cpu_seconds", "trainings",
    "simulated_seconds",
)  # fmt: skip


@dataclass(frozen=True)
class Section:
    """One environment on the page: figures over the whole width, then pairs of them, its tables."""

    name: str
    title: str
    facts: list[tuple[str, str]]
    board: Figure | None
    leaderboard: Grid
    wide: list[Figure]
    pairs: list[list[Figure]]
    tables: list[Grid]


def write_suite_report(result: Result, folder: Path) -> Path:
    """Writes ``report.html``, which contains its figures and their data.

    Args:
        result: What a suite found, as ``result.json`` holds it.
        folder: Where the file goes.

    Returns:
        The path of the file.

    Raises:
        ResultError: If a field is missing or wrong.
    """
    html = render_suite(result)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "report.html"
    path.write_text(html, encoding="utf-8")
    return path


def render_suite(result: Result) -> str:
    """The report as HTML; everything that comes from the result is escaped.

    Raises:
        ResultError: If a field is missing or wrong.
    """
    found = contests(check_result(result))
    template = page_environment().get_template("suite.html.j2")
    return template.render(view=_view(result, found), sections=[_section(c) for c in found])


def _view(result: Result, found: list[Contest]) -> dict[str, Any]:
    whole = json.dumps(result)
    roles = found[0].roles
    return {
        "headline": headline(result, found),
        "lead": lead(result, found),
        "suite": str(result["suite"]),
        "started": str(result["started"])[:19].replace("T", " "),
        "tiles": tiles(result, found),
        "missing": missing(result),
        "warnings": warnings(result, found),
        "overview": overview(found),
        "winners": winners(found),
        "agents": [_agent(agent, roles[agent["label"]]) for agent in result["agents"]],
        "command": str(result["command"]),
        "machine": [(key.replace("_", " "), _text(v)) for key, v in result["machine"].items()],
        "versions": ", ".join(f"{k} {v}" for k, v in result["versions"].items()),
        "runs_csv": csv_text(COLUMNS, [[run[c] for c in COLUMNS] for run in result["runs"]]),
        "whole": whole if len(whole) <= MOST_EMBEDDED else "",
    }


def _agent(agent: Result, role: str) -> dict[str, str]:
    return {
        "label": str(agent["label"]),
        "role": role,
        "name": str(agent["agent"]),
        "options": pairs_text(agent["options"]) or "defaults",
        "summary": str(agent["summary"]),
    }


def _text(value: Any) -> str:  # noqa: ANN401
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def _section(contest: Contest) -> Section:
    wide = (curves_figure(contest), tops_figure(contest))
    return Section(
        name=contest.name,
        title=contest.label,
        facts=_facts(contest.environment),
        board=leaderboard_figure(contest),
        leaderboard=leaderboard(contest),
        wide=[figure for figure in wide if figure is not None],
        pairs=_paired(contest),
        tables=[table for table in (tops(contest), costs(contest)) if table and table.rows],
    )


def _facts(environment: Result) -> list[tuple[str, str]]:
    problem, optimum = environment["problem"], environment["optimum"]
    keywords = pairs_text(environment["keywords"])
    reward = problem.get("reward")
    rows = [
        ("Environment", str(environment["env"]) + (f", {keywords}" if keywords else "")),
        ("Evaluations a run", f"{environment['evaluations']:,}"),
        ("Space", _text(problem.get("space") or "")),
        ("Task", _text(problem.get("task") or "")),
        ("Device", _text(problem.get("device") or "")),
        ("Reward", _text(reward.get("name", "")) if isinstance(reward, dict) else ""),
        ("Evaluator", str(environment["evaluator"])),
        ("Known optimum", f"{optimum['reward']:.4f}" if optimum else ""),
    ]
    return [row for row in rows if row[1]]


def _paired(contest: Contest) -> list[list[Figure]]:
    """Smaller figures two by two; one that is left alone has the whole width."""
    draws: list[Callable[[int], Figure | None]] = [
        partial(improvement_figure, contest),
        partial(cost_figure, contest),
        partial(regret_figure, contest),
        partial(profile_figure, contest),
        partial(hypervolume_figure, contest),
        partial(verified_figure, contest),
    ]
    draws += [partial(pareto_figure, contest, o) for o in contest.environment["objectives"][1:3]]
    drawn = [(draw, figure) for draw in draws if (figure := draw(HALF)) is not None]
    figures = [figure for _, figure in drawn]
    if len(figures) % 2 and (last := drawn[-1][0](WIDE)) is not None:
        figures[-1] = last
    return [figures[i : i + 2] for i in range(0, len(figures), 2)]
