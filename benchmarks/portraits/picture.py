"""Pictures of how agents search: small, with few colours, for a page that is read on a phone.

Colours are those of Okabe and Ito (2008), which colour-blind people can tell apart; what differs by
colour differs by shape or brightness as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.comparison.significance import bootstrap_band
from benchmarks.portraits.figures import BASELINE, LEVEL, Figures
from benchmarks.portraits.runs import Run, curves
from emnas_gym.errors import BackendMissing

OWN, OTHER, OPTIMUM, REPEATED = "#0072B2", "#E69F00", "#009E73", "#9A9A9A"
DPI = 80
PORTRAIT = (640, 300)  # pixels
WIDTH, ROW = 640, 22  # pixels of the overview, and of one agent in it
COLOURS = 64  # of a picture's palette
STYLE: Any = {  # of matplotlib
    "font.size": 11.5,
    "axes.titlesize": 11.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
BEGIN = 10  # evaluations after which random search's mean best is the lower end of the frame
LEAST_ROOM = 1e-3  # height of a frame, in rewards
LOWEST = 5  # per cent of random search's evaluations that lie below the frame of the dots


def draw_portrait(
    name: str, runs: Sequence[Run], baseline: Sequence[Run], optimum: float, path: Path
) -> None:
    """Draws one agent: its mean best reward so far, and the evaluations of its first seed.

    Args:
        name: Of the agent.
        runs: Its runs.
        baseline: Those of random search.
        optimum: The best reward there is.
        path: The ``.png`` to write.

    Raises:
        BackendMissing: If matplotlib is not there.
    """
    evaluations = max(len(run.rewards) for run in (*runs, *baseline))
    with _drawing(PORTRAIT, path) as figure:
        left, right = figure.subplots(1, 2)
        _draw_curves(left, name, runs, baseline, evaluations)
        _draw_dots(right, runs[0], baseline)
        for axes in (left, right):
            axes.axhline(optimum, color=OPTIMUM, linestyle=(0, (4, 2)), linewidth=1.4)
            axes.set_xlim(0, evaluations + 1)
            axes.set_xlabel("evaluations")
            axes.locator_params(axis="x", nbins=4)
            axes.locator_params(axis="y", nbins=5)
        left.text(evaluations, optimum, "optimum", ha="right", va="bottom", color=OPTIMUM)
        left.set_ylabel("reward")
        for axes, low in ((left, _low_of_means(baseline)), (right, _low_of_all(baseline))):
            room = max(optimum - low, LEAST_ROOM)
            axes.set_ylim(optimum - 1.1 * room, optimum + 0.14 * room)


def _low_of_means(baseline: Sequence[Run]) -> float:
    """Where the curves begin to be seen: random search's mean best after a few evaluations.

    It follows from the baseline alone, so that the pictures of all agents have one frame.
    """
    return float(curves(baseline, BEGIN)[:, -1].mean())


def _low_of_all(baseline: Sequence[Run]) -> float:
    """Where dots begin to be seen: below it lie few of random search's evaluations."""
    return float(np.percentile([value for run in baseline for value in run.rewards], LOWEST))


def _draw_curves(
    axes: Any,  # noqa: ANN401
    name: str,
    runs: Sequence[Run],
    baseline: Sequence[Run],
    evaluations: int,
) -> None:
    """Mean curves with 95 % bands; the baseline's is dashed, and alone where it is the agent."""
    kinds = [(BASELINE, baseline, OTHER, "--")]
    if name != BASELINE:
        kinds.append((name, runs, OWN, "-"))
    at = np.arange(1, evaluations + 1)
    for label, some, colour, style in kinds:
        best = curves(some, evaluations)
        low, high = bootstrap_band(best)
        axes.fill_between(at, low, high, color=colour, alpha=0.25, linewidth=0)
        text = f"{label} ({len(some)})"
        axes.plot(at, best.mean(axis=0), style, color=colour, linewidth=2, label=text)
    axes.set_title("best so far, mean (seeds)")
    axes.legend(loc="lower right", frameon=False, handlelength=1.5, borderaxespad=0.2)


def _draw_dots(axes: Any, run: Run, baseline: Sequence[Run]) -> None:  # noqa: ANN401
    """Evaluations in their order; repeats are hollow and grey, what lies too low is a triangle."""
    rewards, repeats = np.array(run.rewards), np.array(run.repeats)
    at = np.arange(1, len(rewards) + 1)
    low = _low_of_all(baseline)
    new, old = ~repeats & (rewards >= low), repeats & (rewards >= low)
    axes.plot(at[old], rewards[old], "o", color=REPEATED, markersize=4, fillstyle="none")
    axes.plot(at[new], rewards[new], "o", color=OWN, markersize=3.6)
    for mask, colour in ((~repeats, OWN), (repeats, REPEATED)):
        below = at[mask & (rewards < low)]
        axes.plot(below, np.full(len(below), low), "v", color=colour, markersize=3.2)
    share = f", {int(repeats.sum())} repeats (○)" if repeats.any() else ", no repeats"
    axes.set_title(f"seed {run.seed}{share}")


def draw_overview(figures: Figures, path: Path) -> None:
    """Draws all agents by their mean best reward at the end; random search's interval is shaded.

    Args:
        figures: As `figures.read_figures` returns them.
        path: The ``.png`` to write.

    Raises:
        BackendMissing: If matplotlib is not there.
    """
    agents: Mapping[str, Figures] = figures["agents"]
    end = str(figures["evaluations"])
    ranked = sorted(agents, key=lambda name: agents[name]["mean"][end][1])
    with _drawing((WIDTH, 96 + ROW * len(ranked)), path) as figure:
        axes = figure.subplots()
        low, mean, high = agents[BASELINE]["mean"][end]
        axes.axvspan(low, high, color=OTHER, alpha=0.3, linewidth=0)
        axes.axvline(mean, color=OTHER, linestyle="--", linewidth=1.5)
        axes.axvline(figures["optimum"], color=OPTIMUM, linestyle=(0, (4, 2)), linewidth=1.5)
        for row, name in enumerate(ranked):
            _draw_row(axes, row, agents[name], end)
        axes.set_yticks(range(len(ranked)), [f"{n} ({len(agents[n]['seeds'])})" for n in ranked])
        axes.set_ylim(-0.7, len(ranked) - 0.3)
        axes.set_xlabel(f"mean best reward after {end} evaluations, 95 %")
        axes.set_title("filled: better than random search, p < 0.05 (Holm)", loc="right")
        axes.grid(axis="x", alpha=0.25)


def _draw_row(axes: Any, row: int, one: Figures, end: str) -> None:  # noqa: ANN401
    """One agent: a dot with its interval, filled if it is better than the baseline."""
    low, mean, high = one["mean"][end]
    colour = OTHER if one["p_holm"] is None else OWN
    face = "white" if one["p_holm"] is not None and one["p_holm"] >= LEVEL else colour
    axes.plot([low, high], [row, row], "-", color=colour, linewidth=2)
    axes.plot(mean, row, "o", color=colour, markerfacecolor=face, markersize=7, clip_on=False)


@contextmanager
def _drawing(pixels: tuple[int, int], path: Path) -> Iterator[Any]:
    """A figure to draw on, written at the end with a palette, which makes it much smaller."""
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
        from PIL import Image  # comes with matplotlib
    except ImportError as error:
        raise BackendMissing("the pictures need matplotlib: pip install matplotlib") from error
    with rc_context(STYLE):
        size = (pixels[0] / DPI, pixels[1] / DPI)
        figure = Figure(size, dpi=DPI, layout="constrained")
        canvas: Any = FigureCanvasAgg(figure)
        yield figure
        canvas.draw()
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    path.parent.mkdir(parents=True, exist_ok=True)
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
