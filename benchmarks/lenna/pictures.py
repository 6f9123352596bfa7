"""The pictures of LENNA's pages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from predictors.picture_file import picture

COLOURS = ("#1f5fa8", "#c2571a", "#3d8b4f", "#7b3f98", "#0f8a8a")


def draw_study(study: Mapping[str, Any], folder: Path) -> list[Path]:
    """The seed's three figures, and what labels of all rules look like beside the truth.

    Args:
        study: Figures of `benchmarks.lenna.study`.
        folder: Where ``cumulative.png``, ``average.png``, ``error.png``, ``labels.png`` go.

    Raises:
        BackendMissing: If matplotlib is not there.
    """
    series = study["series"]
    return [
        _cumulative(series, folder / "cumulative.png"),
        _average(series, folder / "average.png"),
        _error(series, folder / "error.png"),
        _labels(study["rules"], folder / "labels.png"),
    ]


def _cumulative(series: Mapping[str, Any], path: Path) -> Path:
    with picture(path, 6.4, 3.6) as figure:
        axes = figure.subplots()
        values = [value / 1e6 for value in series["cumulative_us"]]
        axes.plot(range(1, len(values) + 1), values, color=COLOURS[0])
        axes.set(
            xlabel="resets of the gates", ylabel="sum of estimates, s", title="Cumulative latency"
        )
        axes.grid(alpha=0.25)
    return path


def _average(series: Mapping[str, Any], path: Path) -> Path:
    with picture(path, 6.4, 3.6) as figure:
        axes = figure.subplots()
        average = [value / 1e3 for value in series["average_us"]]
        axes.plot(range(1, len(average) + 1), average, color=COLOURS[0], label="independent resets")
        ours = [value / 1e3 for value in series["our_averages_us"]]
        step = series["ours"]["resets"] // len(ours)
        at = [step * (i + 1) for i in range(len(ours))]
        axes.plot(at, ours, color="black", marker=".", label="rounds in proportion (ours)")
        axes.axhline(series["expected_us"] / 1e3, color="grey", linestyle="--", label="the law")
        for colour, (name, stop) in zip(COLOURS[1:], series["stops"].items(), strict=False):
            axes.plot(
                stop["resets"], stop["latency_us"] / 1e3, "o", color=colour, label=f"stop: {name}"
            )
        axes.set(xlabel="resets of the gates", ylabel="average, ms", title="Cumulative average")
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8, frameon=False)
    return path


def _error(series: Mapping[str, Any], path: Path) -> Path:
    with picture(path, 6.4, 3.6) as figure:
        axes = figure.subplots()
        changes = [100 * value for value in series["error"]]
        axes.semilogy(range(2, len(changes) + 2), changes, color=COLOURS[0])
        axes.axhline(1.0, color="grey", linestyle="--", label="1 %")
        for colour, (name, stop) in zip(COLOURS[1:], series["stops"].items(), strict=False):
            axes.axvline(stop["resets"], color=colour, label=f"stop: {name}")
        axes.set(
            xlabel="resets of the gates", ylabel="change, %", title="Change of the average, a reset"
        )
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8, frameon=False)
    return path


def _labels(rules: Mapping[str, Any], path: Path) -> Path:
    with picture(path, 6.4, 1.5 * len(rules)) as figure:
        panels = figure.subplots(len(rules), 1, sharex=True)
        for axes, colour, (name, rule) in zip(panels, COLOURS, rules.items(), strict=True):
            axes.hist(rule["labels"], bins=60, range=(0.85, 1.15), color=colour)
            axes.set_title(f"{name}: noise {100 * rule['noise'][1]:.2f} %", fontsize=9)
            axes.set_yticks([])
        panels[-1].set_xlabel("label ÷ expected latency")
    return path


def draw_fits(figures: Mapping[str, Any], path: Path) -> Path:
    """Predicted against measured latencies of blocks that no fit has seen.

    Args:
        figures: Of `benchmarks.lenna.fitting.compare_all`.
        path: The ``.png`` to write.

    Raises:
        BackendMissing: If matplotlib is not there.
    """
    shown = {name: found["scatter"] for name, found in figures.items()}
    names = [n for n in next(iter(shown.values())) if n != "measured_us"]
    with picture(path, 2.9 * len(names), 2.9 * len(shown)) as figure:
        panels = figure.subplots(len(shown), len(names), squeeze=False)
        for row, (data, scatter) in zip(panels, shown.items(), strict=True):
            measured = [value / 1e3 for value in scatter["measured_us"]]
            ends = [min(measured), max(measured)]
            for axes, colour, name in zip(row, COLOURS, names, strict=False):
                predicted = [value / 1e3 for value in scatter[name]["predicted_us"]]
                axes.loglog(measured, predicted, ".", markersize=2.5, color=colour)
                axes.loglog(ends, ends, color="black", linewidth=0.7)
                axes.set_title(f"{data}, {name}: {100 * scatter[name]['mape']:.1f} %", fontsize=9)
                axes.set_xlabel("measured, ms", fontsize=8)
                axes.tick_params(which="minor", labelbottom=False, labelleft=False)
            row[0].set_ylabel("predicted, ms", fontsize=8)
    return path
