"""The data card of a whole table, every number in it from the description of the file."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from predictors.fitted import Figures

TEMPLATE = "bench_card.md.j2"


def card(figures: Figures) -> str:
    """The card of what `predictors.bench_table.describe_bench` says."""
    env = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        autoescape=False,  # Markdown, of our own figures
        keep_trailing_newline=True,
    )
    env.filters |= {
        "share": lambda value: f"{value:.4f}".replace("-", "−"),
        "draws": lambda best: ", ".join(best["random_regret"]),
    }
    return env.get_template(TEMPLATE).render(**figures)
