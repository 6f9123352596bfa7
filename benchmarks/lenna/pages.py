"""The pages of LENNA's study and of its predictors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.lenna.fitting import names_of
from benchmarks.lenna.pictures import draw_fits, draw_study
from predictors.markdown_page import fill
from predictors.metrics import rounded

TEMPLATES = Path(__file__).parent / "templates"


def _percent(values: Any) -> str:  # noqa: ANN401
    """Mean and half of its interval, in per cent."""
    low, mean, high = values
    digits = 3 if high - low < 2e-4 else 2
    return f"{100 * mean:.{digits}f} ± {50 * (high - low):.{digits}f}"


def _plus_minus(values: Any) -> str:  # noqa: ANN401
    low, mean, high = values
    return f"{mean:.3f} ± {(high - low) / 2:.3f}"


def _count(values: Any) -> str:  # noqa: ANN401
    low, mean, high = values
    return f"{mean:.0f} ± {(high - low) / 2:.0f}"


FILTERS = {
    "percent": _percent,
    "plus_minus": _plus_minus,
    "count": _count,
    "share": lambda value: f"{100 * float(value):.2f}",
}


def publish_study(study: Mapping[str, Any], folder: Path) -> list[Path]:
    """Writes ``lenna.md``, ``lenna.json`` and the pictures of the study.

    Returns:
        What was written.
    """
    kept = {
        **study,
        "rules": {
            name: {key: value for key, value in rule.items() if key != "labels"}
            for name, rule in study["rules"].items()
        },
    }
    page = fill(TEMPLATES / "study.md", FILTERS, study=kept)
    return [
        _write(folder / "lenna.md", page),
        _write(folder / "lenna.json", _json(kept)),
        *draw_study(study, folder / "images" / "lenna"),
    ]


def publish_fits(figures: Mapping[str, Any], folder: Path, parts: int, asked: str) -> list[Path]:
    """Writes ``lenna_predictors.md``, its JSON and its picture.

    Args:
        figures: Of `benchmarks.lenna.fitting.compare_all`.
        folder: Where.
        parts: Of the cross-validations.
        asked: The command that makes them.

    Returns:
        What was written.
    """
    kept = {
        name: {key: value for key, value in found.items() if key != "scatter"}
        for name, found in figures.items()
    }
    names = {name: list(names_of(found["splits"]["random"])) for name, found in kept.items()}
    values = {"data": kept, "names": names, "parts": parts, "asked": asked}
    page = fill(TEMPLATES / "predictors.md", FILTERS, **values)
    return [
        _write(folder / "lenna_predictors.md", page),
        _write(folder / "lenna_predictors.json", _json(kept)),
        draw_fits(figures, folder / "images" / "lenna_predictors.png"),
    ]


def _json(figures: Mapping[str, Any]) -> str:
    return (
        json.dumps(rounded(dict(figures), 5), allow_nan=False, indent=1, ensure_ascii=False) + "\n"
    )


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
