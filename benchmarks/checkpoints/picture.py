"""A protocol as a picture: how much is lacking to the optimum, by evaluations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.checkpoints.summary import Summary
from benchmarks.suites.suite import BASELINE
from predictors.picture_file import picture

SHOWN = 5  # agents of a world that are named beside random search
COLOURS = ("#1f5fa8", "#c2571a", "#3d8b4f", "#7b3f98", "#0f8a8a")
LEAST = 1e-3  # of the axis, in percentage points


def draw(summary: Summary, path: Path) -> None:
    """One panel a world: the best agents by name, random search in black, the others grey.

    Args:
        summary: What was computed.
        path: The ``.png`` to write.

    Raises:
        BackendMissing: If matplotlib is not there.
    """
    worlds = list(summary["worlds"].items())
    rows = (len(worlds) + 1) // 2
    with picture(path, 10.5, 4.9 * rows) as figure:
        panels = figure.subplots(rows, min(len(worlds), 2), squeeze=False).ravel()
        for axes, (label, world) in zip(panels, worlds, strict=False):
            _panel(axes, summary, label, world)
        for axes in panels[len(worlds) :]:
            axes.set_visible(False)


def _panel(axes: Any, summary: Summary, label: str, world: Any) -> None:  # noqa: ANN401
    at = [str(one) for one in summary["checkpoints"]]
    middle = at[len(at) // 2 - 1]
    cells = [cell for cell in summary["cells"] if cell["world"] == label]
    cells.sort(key=lambda cell: -cell["points"][middle]["mean"])
    named = [cell["agent"] for cell in cells if cell["agent"] != BASELINE][:SHOWN]
    for cell in reversed(cells):
        points = [cell["points"][one] for one in at]
        lacking = [max(world["optimum"] - point["mean"], LEAST) for point in points]
        style = _style(cell["agent"], named)
        axes.plot(summary["checkpoints"], lacking, marker="o", markersize=3.5, **style)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(summary["checkpoints"], at)
    axes.minorticks_off()
    axes.set_title(f"{world['dataset']}, {world['protocol']}")
    axes.set_xlabel("evaluations, repeats counted")
    axes.set_ylabel(f"regret, percentage points (none: {LEAST:g})")
    axes.grid(True, which="major", alpha=0.25)
    handles, names = axes.get_legend_handles_labels()
    order = sorted(range(len(names)), key=lambda i: [*named, BASELINE].index(names[i]))
    axes.legend(
        [handles[i] for i in order],
        [names[i] for i in order],
        fontsize=8,
        ncols=3,
        frameon=False,
        loc="upper left",
        bbox_to_anchor=(0.0, -0.14),
    )


def _style(agent: str, named: list[str]) -> dict[str, Any]:
    if agent == BASELINE:
        return {"color": "black", "linestyle": "--", "linewidth": 2, "label": agent, "zorder": 3}
    if agent in named:
        colour = COLOURS[named.index(agent)]
        return {"color": colour, "linewidth": 1.8, "label": agent, "zorder": 2}
    return {"color": "#b5b5b5", "linewidth": 0.8, "zorder": 1}
