"""The tables of a suite as Markdown, for a README."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.report.markup import plain_markdown
from benchmarks.report.suite.contest import Contest, contests
from benchmarks.report.suite.findings import headline, missing
from benchmarks.report.suite.samplers import sampler_notes
from benchmarks.report.suite.tables import Cell, Grid, costs, leaderboard, overview, tops, winners
from benchmarks.report.suite.trade_figures import agreement_text
from benchmarks.suites.result import Result, check_result


def suite_markdown(result: Result) -> str:
    """The same tables as on the page, and the command that makes them.

    Raises:
        ResultError: If a field is missing or wrong.
    """
    found = contests(check_result(result))
    lines = [f"{plain_markdown(headline(result, found))}.", ""]
    if (lack := missing(result)) is not None:
        lines += [f"**{lack['text']}**", ""]
    whole = overview(found)
    if whole is not None:
        lines += [*_grid(whole), ""]
    for contest in found:
        lines += _contest(contest, heading=len(found) > 1)
    for note in sampler_notes(result):
        lines += [plain_markdown(note), ""]
    if result["runs"]:
        lines += [*_grid(winners(found)), ""]
    return "\n".join([*lines, f"`{plain_markdown(str(result['command']))}`", ""])


def _contest(contest: Contest, heading: bool) -> Iterator[str]:
    if heading:
        yield from (f"**{plain_markdown(contest.label)}**", "")
    if not contest.ranked:
        yield from ("No run has finished yet.", "")
        return
    for table in (leaderboard(contest), tops(contest), costs(contest)):
        if table is not None:
            yield from (*_grid(table), "")
    if text := agreement_text(contest):
        yield from (f"Predicted and verified reward. {text}", "")


def _grid(table: Grid) -> Iterator[str]:
    """One table; numbers stand right."""
    yield f"| {' | '.join(map(plain_markdown, table.header))} |"
    yield f"|---|{'---:|' * (len(table.header) - 1)}"
    for row in table.rows:
        yield f"| {' | '.join(map(_cell, row))} |"


def _cell(cell: Cell) -> str:
    text = plain_markdown(cell.text)
    detail = f" ({plain_markdown(cell.detail)})" if cell.detail else ""
    return f"**{text}**{detail}" if cell.role == "better" else text + detail
