"""What agents themselves take, as a page and a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.suites.folder import write_json, write_text
from benchmarks.suites.suite import BASELINE
from benchmarks.throughput.cost import THOUSAND, WORLDS
from predictors.picture_file import picture

COLOURS = {"table": "#1f5fa8", "chain": "#c2571a"}
ROW = 0.25  # inches of an agent in the picture
INTRODUCTION = """\
# What do the agents themselves take?

`python -m benchmarks cost --publish docs` makes this page, the picture and `cost.json`.

Seconds of 1,000 evaluations that cost next to nothing, one thread, all agents in turns, the median
of {runs}. `table`: the 1,860 networks of `emnas-bench-8`, looked up. `chain`: the chains of the
default space, scored by a formula. The line of random search is what ledger and world take; what an
agent takes beyond it is its own.

An agent whose first run takes longer than some seconds gets fewer evaluations in the rounds that
count: where there are not {most:,}, the seconds are those of so many, multiplied. Models that read
everything measured so far become slower as it grows; a whole run of such an agent takes longer than
its line says.

Measured on {cpu}, {cores} cores, {python}.

![Seconds of 1,000 evaluations, by agent](images/cost.png)
"""


def publish(figures: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes ``cost.json``, ``cost.md`` and ``images/cost.png``.

    Args:
        figures: As `benchmarks.throughput.cost.cost` gives them.
        folder: Where.

    Returns:
        What was written.
    """
    page, image = folder / "cost.md", folder / "images" / "cost.png"
    write_json(folder / "cost.json", dict(figures))
    draw(figures, image)
    write_text(page, markdown(figures))
    return [folder / "cost.json", image, page]


def markdown(figures: Mapping[str, Any]) -> str:
    """The page, agents by their seconds on chains, the quickest first."""
    lines = [
        _introduction(figures),
        "| agent | table: wall s | CPU s | evaluations | chain: wall s | CPU s | evaluations |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for agent in _quickest_first(figures):
        cells = [_cells(figures["agents"][agent][world]) for world in WORLDS]
        name = f"{agent} (baseline)" if agent == BASELINE else agent
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _introduction(figures: Mapping[str, Any]) -> str:
    every = [took for worlds in figures["agents"].values() for took in worlds.values()]
    runs = max(took["runs"] for took in every)
    machine = figures["machine"]
    return INTRODUCTION.format(
        runs="one run" if runs == 1 else f"{runs} runs",
        most=max(took["evaluations"] for took in every),
        cpu=machine["cpu"],
        cores=machine["cores"],
        python=machine["python"],
    )


def _quickest_first(figures: Mapping[str, Any]) -> list[str]:
    agents = figures["agents"]
    return sorted(agents, key=lambda agent: float(agents[agent]["chain"]["wall_s"]))


def _cells(took: Mapping[str, Any]) -> str:
    return f"{_seconds(took['wall_s'])} | {_seconds(took['cpu_s'])} | {took['evaluations']:,}"


def _seconds(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:.0f}"


def draw(figures: Mapping[str, Any], path: Path) -> None:
    """Two dots an agent on a logarithmic axis; a hollow one had fewer evaluations.

    Args:
        figures: As `benchmarks.throughput.cost.cost` gives them.
        path: The ``.png`` to write.

    Raises:
        BackendMissing: If matplotlib is not there.
    """
    agents = _quickest_first(figures)[::-1]
    with picture(path, 9.0, 1.4 + ROW * len(agents)) as figure:
        axes = figure.subplots()
        for world, colour in COLOURS.items():
            took = [figures["agents"][agent][world] for agent in agents]
            whole = max(one["evaluations"] for one in took)
            fill = [colour if one["evaluations"] == whole else "white" for one in took]
            seconds = [one["wall_s"] for one in took]
            axes.scatter(seconds, agents, c=fill, edgecolors=colour, zorder=3)
            axes.scatter([], [], c=colour, label=world)
        axes.set_xscale("log")
        axes.grid(True, axis="both", alpha=0.25)
        axes.set_xlabel(f"seconds of {THOUSAND:,} evaluations; hollow: scaled from fewer")
        axes.legend(frameon=False, loc="lower left")
