"""The data card of a whole table, every number in it from the description of the file."""

from __future__ import annotations

from pathlib import Path

from predictors.fitted import Figures
from predictors.markdown_page import fill

TEMPLATE = Path(__file__).with_name("bench_card.md.j2")


def card(figures: Figures) -> str:
    """The card of what `predictors.bench_table.describe_bench` says."""
    filters = {
        "share": lambda value: f"{value:.4f}".replace("-", "−"),
        "draws": lambda best: ", ".join(best["random_regret"]),
    }
    return fill(TEMPLATE, filters, **figures)
