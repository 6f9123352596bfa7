"""The comparison for people: a page of tables, and a picture of the curves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from predictors.fitted import Figures
from predictors.picture_file import picture
from predictors.transfer.adapted import CHOSEN
from predictors.transfer.comparison import FIGURES, WAYS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TEN = "10"
SHOWN = ("scratch", "macs", "scaled", "linear", "fine-tuned", "help", "weighted", "chosen")
TITLES = {
    "spearman": "Spearman",
    "mape": "mean error",
    "median_ape": "median error",
    "within_10pct": "within ±10 %",
}
INTRODUCTION = """# A new device from ten measurements

`python -m predictors transfer --out docs` makes this page, its picture and `transfer.json`.
`python -m predictors adapt --csv ten.csv --device stm32u575zi` does it for a board of your own,
in the way called *chosen* unless told otherwise.

Every device is held out in turn. The others were measured on a pool of networks; on the held-out
one only a few networks of the pool are. All ways of adapting get the same samples and are judged on
networks that behave like none of the pool. A figure is the mean over the held-out devices, with the
95 % interval of its mean over the draws of the samples (not over devices: there are few of them).
Mean relative errors are ruled by a few nearly empty networks that take almost no time on
some devices; the median says more.

The first world is NAS-Bench-201 on the devices of HW-NAS-Bench (Li et al. 2021); the edge TPU is
judged where it runs. *Our devices* are this machine, seven configurations of an Ethos-U (estimates
of Arm's compiler Vela), instructions on an emulated Cortex-M4, and, only to learn from, a line in
MACs. *By family* holds out all Ethos-U at once. `dataset_3` is amirhpd/emnas (K210, JeVois camera,
a PC) and the same line.
"""


def markdown(worlds: dict[str, Figures]) -> str:
    """The page, from figures by name of the world."""
    parts = [INTRODUCTION, "![Curves](images/transfer.png)\n"]
    parts += ["| way | what it is |", "|---|---|"]
    parts += [f"| {way} | {what} |" for way, what in WAYS.items()]
    for name, figures in worlds.items():
        parts.append("")
        parts += _world(name, figures)
    return "\n".join(parts) + "\n"


def _world(name: str, figures: Figures) -> Iterator[str]:
    yield f"## {name}: {len(figures['devices'])} devices held out, {figures['draws']} draws\n"
    yield f"{figures['pool']} networks to learn from, {figures['test']} to judge by.\n"
    yield from _table(figures, "random", TEN)
    yield f"\nHighest at ten random samples: {_highest(figures)}."
    yield "\nSpearman with more or fewer samples, drawn at random:\n"
    counts = list(figures["selections"]["random"])
    yield "| way | " + " | ".join(counts) + " |"
    yield "|---|" + "---|" * len(counts)
    for way in SHOWN:
        cells = [_cell(figures["selections"]["random"][n][way]["spearman"]) for n in counts]
        yield f"| {way} | " + " | ".join(cells) + " |"
    yield "\nSpearman at ten samples by how they were chosen:\n"
    selections = [s for s, by in figures["selections"].items() if TEN in by]
    yield "| way | " + " | ".join(selections) + " |"
    yield "|---|" + "---|" * len(selections)
    for way in SHOWN:
        cells = [_cell(figures["selections"][s][TEN][way]["spearman"]) for s in selections]
        yield f"| {way} | " + " | ".join(cells) + " |"
    yield "\nSpearman of each device at ten random samples:\n"
    yield from _devices(figures)


def _table(figures: Figures, selection: str, count: str) -> Iterator[str]:
    yield f"With {count} samples, chosen at {selection}:\n"
    yield "| way | " + " | ".join(TITLES[name] for name in FIGURES) + " |"
    yield "|---|" + "---|" * len(FIGURES)
    for way in WAYS:
        row = figures["selections"][selection][count][way]
        yield f"| {way} | " + " | ".join(_cell(row[name]) for name in FIGURES) + " |"
    upper = list(figures["upper"].values())
    means = [sum(row[name] for row in upper) / len(upper) for name in FIGURES]
    yield "| *all of the pool measured* | " + " | ".join(f"{m:.3f}" for m in means) + " |"


def _highest(figures: Figures) -> str:
    """The ways of highest mean Spearman and of highest share within ±10 %."""
    ways = figures["selections"]["random"][TEN]
    parts = []
    for name in ("spearman", "within_10pct"):
        best = max(ways, key=lambda way: float(ways[way][name][1]))
        parts.append(f"{TITLES[name]} {best} ({_cell(ways[best][name])})")
    return ", ".join(parts)


def _devices(figures: Figures) -> Iterator[str]:
    ways = figures["selections"]["random"][TEN]
    yield "| device | known | " + " | ".join(SHOWN) + " | all of the pool |"
    yield "|---|---|" + "---|" * (len(SHOWN) + 1)
    for device, known in figures["devices"].items():
        cells = [f"{ways[way]['devices'][device]['spearman'][1]:.3f}" for way in SHOWN]
        upper = figures["upper"][device]["spearman"]
        yield f"| {device} | {known} | " + " | ".join(cells) + f" | {upper:.3f} |"


def _cell(interval: list[float]) -> str:
    low, mean, high = interval
    return f"{mean:.3f} ± {(high - low) / 2:.3f}"


def draw(worlds: dict[str, Figures], path: Path) -> None:
    """Draws Spearman and the share within ±10 % against the number of samples.

    Raises:
        BackendMissing: If matplotlib is not there.
    """
    with picture(path, 3.4 * len(worlds), 6.2, dpi=110) as figure:
        axes: Any = figure.subplots(2, len(worlds), squeeze=False)
        for column, (name, figures) in enumerate(worlds.items()):
            for row, what in enumerate(("spearman", "within_10pct")):
                _curves(axes[row, column], figures, what)
            axes[0, column].set_title(f"{name} ({len(figures['devices'])} held out)")
            axes[1, column].set_xlabel("networks measured on the new device")
        axes[0, 0].set_ylabel("Spearman's ρ")
        axes[1, 0].set_ylabel("share within ±10 %")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)


def _curves(axes: Axes, figures: Figures, what: str) -> None:
    curves = figures["selections"]["random"]
    counts = [int(count) for count in curves]
    for i, way in enumerate(SHOWN):
        rows = [curves[str(count)][way][what] for count in counts]
        means, width = [row[1] for row in rows], 2.4 if way == CHOSEN else 1.2
        axes.plot(counts, means, "o-", markersize=3, label=way, linewidth=width, color=f"C{i}")
        low, high = [row[0] for row in rows], [row[2] for row in rows]
        axes.fill_between(counts, low, high, color=f"C{i}", alpha=0.12, linewidth=0)
    upper = [row[what] for row in figures["upper"].values()]
    axes.axhline(sum(upper) / len(upper), color="0.4", linestyle=":", label="whole pool measured")
    axes.set_xscale("log")
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    axes.grid(alpha=0.3)
