"""The effect of an audit for people: a page of tables, and a picture of searches going astray."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from predictors.audit_study import ARMS, EVALUATIONS, TRUTHS
from predictors.fitted import Figures
from predictors.picture_file import picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DRAWN = {"plain": "C0", "lcb 1": "C1", "active": "C2", "active lcb 1": "C3"}
INTRODUCTION = f"""# What a search makes of its predictor

`python -m predictors audit --seeds 10 --train 3 --out docs` makes this page, its picture and
`audit.json`.

A search that climbs a predictor finds what the predictor is wrong about. `evaluator="audited"`
reports it: some networks of a search are verified by training, within a budget. It can answer a
lower confidence bound instead of the mean (`kappa`), and correct the predictor by what was
verified (`refit`). Here is what that is worth.

Every search has {EVALUATIONS} evaluations of the predictor. *Optimism* is promised minus verified
reward of what is verified at the end (a lower bound promises less than the mean, so that a
negative value is no merit by itself); *verified* is the true reward of the winner; *gain* is its
difference to `plain`, seed by seed (each arm is tested for itself, without a correction for
their number); *truths* are the answers of the truth that were used, at most
{TRUTHS}. Intervals hold the mean over seeds with 95 %; each seed has another predictor, fitted on
other networks. A gain whose interval holds 0 is no effect that was shown.

In the *table* worlds the truth is the trained accuracy of networks of the committed table, and a
search picks among hundreds of them. In the *space* worlds it climbs the whole space, and the
shipped surrogate, fitted on thousands of networks, stands in for the truth: what it is wrong about
itself does not show.
"""


def markdown(worlds: dict[str, Figures], trained: Figures | None) -> str:
    """The page.

    Args:
        worlds: Figures of `effect` by name of the world.
        trained: Figures of really trained winners; None if there are none.
    """
    parts = [INTRODUCTION, "![Promised and true reward](images/audit.png)\n"]
    parts += ["| arm | what it is |", "|---|---|"]
    parts += [f"| {name} | {arm.what} |" for name, arm in ARMS.items()]
    for name, figures in worlds.items():
        parts += ["", f"## {name}\n", *_table(figures)]
    if trained:
        parts += ["", *_trained(trained)]
    return "\n".join(parts) + "\n"


def _table(figures: Figures) -> Iterator[str]:
    yield "| arm | optimism | verified | gain over plain | accuracy | truths |"
    yield "|---|---|---|---|---|---|"
    for name, row in figures.items():
        cells = [_cell(row[key]) for key in ("optimism", "verified", "gain", "accuracy")]
        yield f"| {name} | " + " | ".join(cells) + f" | {row['truths']:.1f} |"
    yield f"\nAbove plain by more than chance: {_shown(figures, 1)}; below: {_shown(figures, -1)}."


def _shown(figures: Figures, sign: int) -> str:
    """Arms whose gain has an interval on one side of 0; each tested for itself."""
    names = [
        n for n, row in figures.items() if min(sign * row["gain"][0], sign * row["gain"][2]) > 0
    ]
    return "; ".join(names) if names else "none"


def _trained(figures: Figures) -> Iterator[str]:
    first = next(iter(figures.values()))
    yield "## Really trained winners\n"
    yield (
        f"The shipped surrogate is climbed; the best {first['winners']} of each of "
        f"{first['seeds']} searches are trained once each and judged on the validation part. Few "
        "seeds: the intervals are wide.\n"
    )
    yield "| arm | optimism | verified, mean of the winners | best promised | its verified |"
    yield "|---|---|---|---|---|"
    for name, row in figures.items():
        keys = ("optimism", "verified", "promised_of_best", "verified_of_best")
        yield f"| {name} | " + " | ".join(_cell(row[key]) for key in keys) + " |"


def _cell(interval: list[float]) -> str:
    low, mean, high = interval
    return f"{mean:.4f} ± {(high - low) / 2:.4f}"


def draw(worlds: dict[str, Figures], path: Path) -> None:
    """Draws promised and true reward of the best so far along the searches.

    Raises:
        BackendMissing: If matplotlib is not there.
    """
    with picture(path, 3.6 * len(worlds), 6.4, dpi=110) as figure:
        axes: Any = figure.subplots(2, len(worlds), squeeze=False)
        for column, (name, figures) in enumerate(worlds.items()):
            _course(axes[0, column], figures)
            _gains(axes[1, column], figures)
            axes[0, column].set_title(name)
        axes[0, 0].set_ylabel("reward of the best so far")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), frameon=False)


def _course(axes: Axes, figures: Figures) -> None:
    for name, colour in DRAWN.items():
        course = figures[name]["course"]
        at = course["evaluations"]
        axes.plot(at, course["promised"], "--", color=colour, linewidth=1.2)
        axes.plot(at, course["true"], color=colour, linewidth=1.8, label=f"{name}: true")
    axes.plot([], [], "--", color="0.4", label="promised")
    axes.set_xlabel("evaluations")
    axes.grid(alpha=0.3)


def _gains(axes: Axes, figures: Figures) -> None:
    names = [name for name in figures if name != "plain"]
    for place, name in enumerate(reversed(names)):
        low, mean, high = figures[name]["gain"]
        colour = DRAWN.get(name, "0.5")
        axes.errorbar(mean, place, xerr=[[mean - low], [high - mean]], fmt="o", color=colour)
    axes.axvline(0.0, color="0.4", linewidth=1)
    axes.set_yticks(range(len(names)), [*reversed(names)])
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlabel("true reward of the winner − plain")
    axes.locator_params(axis="x", nbins=4)
    axes.grid(alpha=0.3, axis="x")
