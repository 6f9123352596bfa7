"""The page of a sweep of λ: a table, what it shows in words, and the front as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.gradient.sweep import Sweep
from benchmarks.gradient.sweep_statistics import POINT, sweep_findings
from benchmarks.suites.folder import write_json, write_text
from predictors.picture_file import picture

STEP = 2.0  # standard errors by which latency may seem to rise


def write_sweep(result: Mapping[str, Any], folder: Path, command: str) -> Path:
    """Writes ``latency-<target>.md``, its picture under ``images`` and its figures as JSON.

    The page of another task than digits has that task's name behind its target's.

    Args:
        result: What `benchmarks.gradient.sweep.run_sweep` returns.
        folder: Where they go.
        command: That makes them.

    Returns:
        The page.

    Raises:
        BackendMissing: If matplotlib is not there.
        StoreError: If a file cannot be written.
    """
    found, name = sweep_findings(result), _name(result["sweep"])
    draw_sweep(result, found, folder / "images" / f"{name}.png")
    write_json(folder / f"{name}.json", {**_without_traces(result), "findings": found})
    page = folder / f"{name}.md"
    write_text(page, render_sweep(result, found, name, command))
    return page


def _name(sweep: Mapping[str, Any]) -> str:
    """What page, picture and figures are called."""
    words = ["latency", sweep["target"].replace("/", "-")]
    if sweep["task"] != Sweep.task:
        words.append(Path(sweep["task"]).stem)
    return "-".join(words)


def _without_traces(result: Mapping[str, Any]) -> dict[str, Any]:
    """The result; what searches told of each epoch stays in their own files."""
    runs = [{k: v for k, v in run.items() if k != "traces"} for run in result["runs"]]
    return {**result, "runs": runs}


def render_sweep(
    result: Mapping[str, Any], found: Mapping[str, Any], name: str, command: str
) -> str:
    """The page as Markdown."""
    sweep, table = result["sweep"], result["table"]
    lines = [
        f"# Latency in the loss: {sweep['agent']} on {sweep['target']}",
        "",
        f"{sweep['agent']} searches {sweep['space']} on {sweep['task']} with λ · E[latency] ÷ "
        f"reference in its loss, {sweep['seeds']} seeds for every λ. Each genotype is trained from "
        f"scratch with {sweep['trainings']} seeds, exported as int8 and measured on "
        f"{sweep['target']}. ± is the standard error over searches; equivalents are full trainings "
        "that a search costs.",
        "",
        "| λ | latency, measured | test accuracy | int8 | networks | equivalents |",
        "|---:|---:|---:|---:|---:|---:|",
        *(_row(row) for row in found["rows"]),
        "",
        *_sentences(found, table),
        "",
        f"![Accuracy against latency](images/{name}.png)",
        "",
        f"`{command}` makes this, its picture and `{name}.json`.",
        "",
    ]
    return "\n".join(lines)


def _row(row: Mapping[str, Any]) -> str:
    cells = (
        f"{row['weight']:g}",
        f"{row['latency']:,.1f} ± {row['latency_error']:,.1f} µs",
        f"{100 * row['test']:.2f} ± {100 * row['test_error']:.2f} %",
        f"{100 * row['int8']:.2f} ± {100 * row['int8_error']:.2f} %",
        f"{row['distinct']} of {row['runs']}",
        f"{row['equivalents']:.1f}",
    )
    return f"| {' | '.join(cells)} |"


def _sentences(found: Mapping[str, Any], table: Mapping[str, Any]) -> list[str]:
    """What is shown, one finding a line of a list."""
    spearman, step, faster = found["spearman"], found["largest_step_up"], found["faster"]
    rank = "cannot be told: latency never changes" if spearman is None else f"{spearman:.2f}"
    lines = [f"- Spearman's rank correlation of λ and mean latency is {rank}."]
    if step is not None:
        kept = "no step leads up" if step <= 0 else f"the largest step up is {step:.1f} errors"
        verdict = "" if step <= STEP else ", which is more than chance"
        lines.append(f"- From one λ to the next {kept}{verdict}.")
    if faster is None:
        lines.append("- No λ makes networks 20 % faster than plain search.")
    else:
        within = "within" if faster["within_a_point"] else "not within"
        lines.append(
            f"- At λ = {faster['weight']:g} networks are {100 * faster['faster']:.0f} % faster and "
            f"lose {100 * faster['loss']:.2f} ± {100 * faster['loss_error']:.2f} points: {within} "
            f"{100 * POINT:.0f} point."
        )
    lines.append(
        f"- Predicted and measured latency of the genotypes differ by "
        f"{100 * found['prediction_error']:.1f} % on average; the table is "
        f"{100 * table['mape']:.1f} % off on random networks that it has not seen."
    )
    return lines


def draw_sweep(result: Mapping[str, Any], found: Mapping[str, Any], path: Path) -> None:
    """Every genotype as a dot, the means of each λ joined.

    Args:
        result: Of the sweep.
        found: What it shows.
        path: The ``.png`` to write.

    Raises:
        BackendMissing: If matplotlib is not there.
    """
    with picture(path, 9.0, 4.8, dpi=90) as figure:
        rows = found["rows"]
        axes = figure.subplots()
        axes.plot(
            [row["latency"] for row in rows], [100 * row["test"] for row in rows],
            color="#52635b", linewidth=1.2, zorder=1,
        )  # fmt: skip
        for i, row in enumerate(rows):
            shade = 0.25 + 0.6 * i / max(len(rows) - 1, 1)
            colour = (1 - shade, 0.35 * (1 - shade) + 0.2, shade)
            mine = [run for run in result["runs"] if run["weight"] == row["weight"]]
            axes.scatter(
                [run["measured"] for run in mine],
                [100 * sum(run["test"]) / len(run["test"]) for run in mine],
                color=[colour], s=16, alpha=0.45, linewidths=0,
            )  # fmt: skip
            axes.errorbar(
                row["latency"], 100 * row["test"], 100 * row["test_error"], row["latency_error"],
                marker="o", color=colour, label=f"λ = {row['weight']:g}", capsize=2,
            )  # fmt: skip
        axes.set_xlabel(f"latency on {result['sweep']['target']}, µs, measured")
        axes.set_ylabel("test accuracy, %, trained from scratch")
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
