"""The tables of a protocol, for the terminal and as Markdown: the best agent first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.checkpoints.summary import Summary

LEAST_P = 0.001


def header(summary: Summary) -> list[str]:
    """Names of the columns."""
    columns = [f"{at}" for at in summary["checkpoints"]]
    return ["agent", *columns, f"p at {_tested_at(summary)}", "runs", "s a run"]


def rows(summary: Summary, world: str) -> list[list[str]]:
    """One row an agent: means with their standard errors, in percent."""
    at = str(_tested_at(summary))
    cells = [cell for cell in summary["cells"] if cell["world"] == world]
    cells.sort(key=lambda cell: -cell["points"][at]["mean"])
    return [
        [
            str(cell["agent"]),
            *(_mean(cell["points"][str(one)]) for one in summary["checkpoints"]),
            _p(cell["points"][at]["p_holm"]),
            str(cell["points"][at]["runs"]),
            f"{cell['cpu_s']:.2g}",
        ]
        for cell in cells
    ]


def title(world: Mapping[str, Any]) -> str:
    """What a table is about."""
    known = f"the best of {world['networks']:,} networks has {world['optimum']:.2f} %"
    return f"{world['dataset']}, {world['protocol']}: {known}"


def show(summary: Summary, console: Console) -> None:
    """Prints the tables."""
    for label, world in summary["worlds"].items():
        table = Table(box=SIMPLE, title=title(world))
        for i, name in enumerate(header(summary)):
            table.add_column(name, justify="right" if i else "left", no_wrap=True)
        for row in rows(summary, label):
            table.add_row(*row)
        if table.row_count:
            console.print(table)


def markdown(summary: Summary) -> str:
    """A page with a heading, a picture and a table for each world."""
    name = summary["protocol"]
    lines = [
        f"# {summary['title']}",
        "",
        f"`python -m benchmarks run {name} --publish docs` makes this page, the picture and "
        f"`{name}.json`: what is there already is taken from there, `--fresh` computes all of it.",
        "Numbers are reported accuracies in percent after so many evaluations, repeats counted: "
        "means of the runs ± their standard errors.",
        "With `oracle` the search sees the reported accuracy itself, as in published figures; "
        "with `honest` it sees validation accuracies, and what it would deliver is reported.",
        f"p: one-sided Mann–Whitney test against random search at {_tested_at(summary)} "
        "evaluations, Holm over the agents of a table. Agents that take longer have fewer runs; "
        "seconds are those of the processor.",
        "",
        f"![Mean regret over evaluations](images/{name}.png)",
        "",
    ]
    for label, world in summary["worlds"].items():
        lines += [f"## {title(world)}", "", *_markdown_table(summary, label), ""]
    return "\n".join(lines)


def _markdown_table(summary: Summary, label: str) -> Iterator[str]:
    columns = header(summary)
    yield f"| {' | '.join(columns)} |"
    yield f"|---|{'---:|' * (len(columns) - 1)}"
    for row in rows(summary, label):
        yield f"| {' | '.join(row)} |"


def _tested_at(summary: Summary) -> int:
    """The largest checkpoint up to 100: later all that learn have arrived."""
    known: list[int] = summary["checkpoints"]
    return max(at for at in known if at <= max(100, known[0]))


def _mean(point: Mapping[str, Any]) -> str:
    return f"{point['mean']:.3f} ±{point['error']:.3f}".replace("±0.", "±.")


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return f"< {LEAST_P}" if value < LEAST_P else f"{value:.3f}"
