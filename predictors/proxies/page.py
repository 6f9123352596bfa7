"""The comparison of estimators as a page, every number in it from the figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from emnas_gym.errors import StoreError
from predictors.fitted import Figures
from predictors.markdown_page import fill

TEMPLATE = Path(__file__).with_name("page.md.j2")
COMBINED = "zero-cost scores together"


def markdown(figures: Figures) -> str:
    """The page of `predictors.proxies.table.measure` with ``curves`` and ``elimination``.

    Raises:
        StoreError: If the figures lack a row that the page cannot do without.
    """
    rows: dict[str, dict[str, Any]] = {row["name"]: row for row in figures["rows"]}
    combined = next(name for name in rows if name.startswith(COMBINED))

    def of(name: str) -> dict[str, Any]:
        if name not in rows:
            raise StoreError(f"the figures have no row {name!r}")
        return rows[name]

    filters = {
        "span": lambda three: _three(three, _plain),
        "span_signed": lambda three: "–" if three is None else _three(three, _signed),
        "three": lambda three: _three(three, lambda value: f"{value:.3f}"),
        "percent": lambda three: _three(three, lambda value: f"{100 * value:.0f} %"),
        "short": lambda value: f"{value:.3g}" if value >= 1e-4 else f"{value:.2g}",
        "share": lambda value: f"{value:.2f}" if value else "0",
    }
    return fill(
        TEMPLATE,
        filters,
        **figures,
        of=of,
        names=set(rows),
        tau=lambda name: _plain(of(name)["tau"][1]),
        bias=lambda name: _signed(of(name)["bias"][1]),
        cost=lambda name: f"{of(name)['equivalents']:.2f}",
        faster=lambda name: f"{of(name)['speed_up']:.1f}",
        combined=combined,
        combined_by=combined.removeprefix(COMBINED).strip(" ()"),
    )


def _three(three: list[float], form: Any) -> str:  # noqa: ANN401
    low, value, high = map(form, three)
    return f"{value} ({low} … {high})"


def _plain(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")
