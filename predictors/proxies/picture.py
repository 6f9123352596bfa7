"""The table as a picture: rank correlation against seconds."""

from __future__ import annotations

from pathlib import Path

from predictors.fitted import Figures
from predictors.picture_file import picture

COLOURS = {"trained": "#1f5fa8", "curve": "#c2571a", "zero-cost": "#3d8b4f", "model": "#7b3f98"}
TITLES = {
    "trained": "trained less",
    "curve": "curve continued",
    "zero-cost": "not trained",
    "model": "fitted beforehand",
}


def draw(figures: Figures, path: Path) -> None:
    """Draws every row of the table; lines are 95 % intervals, numbers stand for the names.

    Args:
        figures: What `table.measure` returned.
        path: The ``.png`` to write.

    Raises:
        BackendMissing: If matplotlib is not there.
    """
    with picture(path, 12, 6.4, dpi=100) as figure:
        axes = figure.subplots()
        rows = sorted(figures["rows"], key=lambda row: -row["tau"][1])
        seen: set[str] = set()
        for number, row in enumerate(rows, start=1):
            low, tau, high = row["tau"]
            colour, title = COLOURS[row["kind"]], TITLES[row["kind"]]
            axes.errorbar(
                row["seconds"],
                tau,
                yerr=[[max(tau - low, 0)], [max(high - tau, 0)]],
                fmt="o",
                color=colour,
                markersize=12,
                elinewidth=1,
                alpha=0.85,
                label=None if title in seen else title,
            )
            seen.add(title)
            axes.annotate(
                str(number),
                (row["seconds"], tau),
                ha="center",
                va="center",
                color="white",
                fontsize=7.5,
                fontweight="bold",
            )
        names = [f"{i:2d}  {row['name']}  (τ {row['tau'][1]:.2f})" for i, row in enumerate(rows, 1)]
        axes.text(1.02, 1.0, "\n".join(names), transform=axes.transAxes, va="top", fontsize=9.5)
        axes.set_xscale("log")
        axes.set_xlabel("seconds a network (processor time, one thread)")
        axes.set_ylabel("Kendall's τ with full training")
        axes.set_title(
            f"What estimators of accuracy are worth: {figures['networks']} held-out networks"
        )
        axes.grid(True, which="major", alpha=0.25)
        axes.legend(loc="lower right", markerscale=0.6)
