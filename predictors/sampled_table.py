"""What a packed table of sampled networks holds, as figures and as a data card."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emnas_gym.space import load_space
from emnas_gym.tasks import DIGITS
from predictors import fit_digits
from predictors.fitted import Figures
from predictors.markdown_page import fill
from predictors.metrics import agreement, noise_floor, rounded
from predictors.sampled_table_picture import draw
from predictors.store import Tokens
from predictors.tables import Table, packed_path, read_header, unpack

TEMPLATE = Path(__file__).with_name("sampled_table.md.j2")
QUANTILES = (0, 0.05, 0.5, 0.95, 0.99, 1)
LARGE = 1000  # from here on numbers are written whole


def describe_table(path: Path | None = None) -> Figures:
    """What a packed table holds.

    Args:
        path: A packed table; that of the default space and task if None.

    Raises:
        StoreError: If there is none, or it is damaged.
    """
    path = path or packed_path(fit_digits.SPACE, DIGITS.name)
    table, header = unpack(path), read_header(path)
    accuracy = np.array([np.mean(values) for values in table.accuracies().values()])
    seconds = [row.seconds for row in table.trainings]
    figures = {
        "file": path.name,
        "bytes": path.stat().st_size,
        "networks": len(table.networks),
        "trainings": len(table.trainings),
        "failures": len(table.failures),
        "lengths": dict(sorted(Counter(len(tokens) for tokens in table.networks).items())),
        "origins": dict(Counter(row.origin for row in table.trainings)),
        "accuracy_quantiles": _quantiles(accuracy),
        "share_at_chance": float((accuracy < 2 / DIGITS.classes).mean()),
        "noise_floor": _noise(table),
        "validation_and_test": _validation_and_test(table),
        "int8_minus_float": _int8_minus_float(table),
        "seconds_a_training": float(np.median(seconds)),
        "training_hours": float(np.sum(seconds)) / 3600,
        "costs": {device: _costs(rows) for device, rows in table.costs.items()},
        "made_by": {key: header[key] for key in ("command", "python", "versions", "about")},
        "images": dict(header["images"]),
    }
    plain = rounded(figures)
    assert isinstance(plain, dict)
    return plain


def write_card(path: Path, file: Path | None, figures: Figures, space: str | None = None) -> None:
    """Writes the data card of a table, and its picture into ``images`` beside it.

    Args:
        path: The Markdown file to write.
        file: The packed table; that of the default space and task if None.
        figures: What `describe_table` says of it.
        space: Name or file of its search space; that of which the table has its name if None.

    Raises:
        StoreError: If the table is of another space.
        BackendMissing: If matplotlib is not there.
    """
    name = figures["file"].removesuffix(".npz").removesuffix(f"_{DIGITS.name}")
    image = Path("images") / f"{path.stem}.png"
    table = unpack(file or packed_path(fit_digits.SPACE, DIGITS.name))
    chosen = load_space(space or name)
    draw(table, chosen, path.parent / image)
    path.write_text(card(figures, chosen.name, image), encoding="utf-8")


def card(figures: Figures, space: str, image: Path) -> str:
    """The text of the card.

    Args:
        figures: What `describe_table` says.
        space: Name of the search space.
        image: Path of the picture from the card.
    """
    filters = {
        "share": lambda value: f"{value:.4f}".replace("-", "−"),
        "brief": lambda value: f"{value:.3g}" if abs(value) < LARGE else f"{value:,.0f}",
    }
    shipped = figures["file"] == packed_path(space, DIGITS.name).name
    return fill(TEMPLATE, filters, **figures, space=space, shipped=shipped, image=image.as_posix())


def _noise(table: Table) -> Figures:
    repeats = [values[:5] for values in table.accuracies().values() if len(values) >= 5]
    return noise_floor(repeats)


def _validation_and_test(table: Table) -> Figures:
    """Of single trainings: what a search would see, against what a report says."""
    seen = np.array([row.curve[-1] for row in table.trainings])
    return agreement(seen, np.array([row.test_accuracy for row in table.trainings]))


def _int8_minus_float(table: Table) -> Figures:
    rows = [row for row in table.trainings if row.int8_accuracy is not None]
    off = np.array([(row.int8_accuracy or 0.0) - row.test_accuracy for row in rows])
    if not rows:
        return {"n": 0}
    return {
        "mean": float(off.mean()),
        "mean_absolute": float(np.abs(off).mean()),
        "worst": float(off.min()),
        "n": len(rows),
    }


def _costs(rows: Mapping[Tokens, Mapping[str, float]]) -> Figures:
    """Latencies; where a device has none, what was counted instead."""
    names = sorted({name for row in rows.values() for name in row})
    told = [name for name in names if name == "latency_ms"] or names
    columns = {name: [row[name] for row in rows.values() if name in row] for name in told}
    quantiles = {f"{name}_quantiles": _quantiles(np.array(v)) for name, v in columns.items()}
    return {"networks": len(rows), **quantiles}


def _quantiles(values: NDArray[np.float64]) -> Figures:
    return {f"{100 * q:g} %": float(np.quantile(values, q)) for q in QUANTILES}
