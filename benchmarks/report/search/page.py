"""The report of a search: one HTML file that needs nothing else, and short tables for a README."""

from __future__ import annotations

from pathlib import Path

from benchmarks.report.charts import Summary
from benchmarks.report.markup import page_environment, plain_markdown
from benchmarks.report.search.figures import pareto_figure, reward_figure, runs, verified_figure
from benchmarks.report.search.findings import headline, winner
from benchmarks.report.search.genotype_figure import genotype_figure
from benchmarks.report.search.gradient_figures import gradient_figures
from benchmarks.report.search.view import report_view, winner_row
from benchmarks.report.search.winner_figures import gauges_figure, network_figure


def write_report(summary: Summary, folder: Path) -> Path:
    """Writes ``report.html``, which contains its figures and their data.

    Args:
        summary: What a search found, as ``summary.json`` holds it.
        folder: Where the file goes.

    Returns:
        The path of the file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "report.html"
    path.write_text(render_html(summary), encoding="utf-8")
    return path


def render_html(summary: Summary) -> str:
    """The report as HTML; everything that comes from the summary is escaped."""
    drawn = {
        "network": network_figure(summary),
        "costs": gauges_figure(summary),
        "reward": reward_figure(summary),
        "pareto": pareto_figure(summary),
        "verified": verified_figure(summary),
    }
    genotype = genotype_figure(summary)
    gradient = [*([genotype] if genotype else []), *gradient_figures(summary)]
    template = page_environment().get_template("report.html.j2")
    return template.render(view=report_view(summary), figures=drawn, gradient=gradient)


def render_markdown(summary: Summary) -> str:
    """Short tables for a README: the search beside random search, and the winners."""
    lines = [
        f"{plain_markdown(headline(summary))}.",
        "",
        "| searcher | best reward, predicted | verified |",
    ]
    lines.append("|---|---:|---:|")
    verified, rival = winner(summary).get("verified"), summary.get("random_verified")
    trained = {"agent": _reward(verified), "random": _reward(rival), "walk": "–"}
    for run in runs(summary):
        if run.best:
            lines.append(
                f"| {plain_markdown(run.name)} | {run.best[-1][1]:.4f} | {trained[run.role]} |"
            )
    lines += ["", "| rank | layers | predicted | verified | int8 | latency | flash |"]
    lines.append("|---:|---:|---:|---:|---:|---:|---:|")
    for entry in summary["winners"]:
        row = winner_row(summary, entry)
        cells = [row[key] for key in ("predicted", "verified", "int8", "latency", "flash")]
        lines.append(f"| {row['rank']} | {len(row['layers'])} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", f"`{plain_markdown(str(summary['command']))}`", ""])


def _reward(verified: Summary | None) -> str:
    return f"{verified['reward']:.4f}" if verified else "–"
