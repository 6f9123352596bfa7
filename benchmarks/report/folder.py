"""From a folder to its report: that of a search, or that of a suite."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.report.charts import Summary
from benchmarks.report.search.page import render_markdown, write_report
from benchmarks.report.suite.markdown_tables import suite_markdown
from benchmarks.report.suite.page import write_suite_report
from benchmarks.suites.result import load_result
from emnas_gym.errors import EmNASError

SEARCH = "summary.json"  # in the folder of a search; a suite's has a result.json, or runs


def report_folder(folder: Path) -> Path:
    """Writes ``report.html`` anew from what the folder holds.

    Args:
        folder: Of a finished search, or of a suite, finished or not.

    Returns:
        The path of the page.

    Raises:
        EmNASError: If there is nothing to report, or it is damaged.
    """
    if (folder / SEARCH).exists():
        return write_report(_summary(folder / SEARCH), folder)
    return write_suite_report(load_result(folder), folder)


def folder_markdown(folder: Path) -> str:
    """The tables of the report as Markdown.

    Raises:
        EmNASError: If there is nothing to report, or it is damaged.
    """
    if (folder / SEARCH).exists():
        return render_markdown(_summary(folder / SEARCH))
    return suite_markdown(load_result(folder))


def _summary(path: Path) -> Summary:
    try:
        summary: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EmNASError(f"{path}: no summary of a finished search: {error}") from error
    return summary
