"""A picture of matplotlib's, drawn without a display and written when it is whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emnas_gym.errors import BackendMissing

DPI = 80


@contextmanager
def picture(path: Path, width: float, height: float, dpi: int = DPI) -> Iterator[Any]:
    """A figure to draw on, written at the end; nothing is written if drawing fails.

    Args:
        path: The ``.png``; its folder is made if there is none.
        width: In inches.
        height: In inches.
        dpi: Pixels an inch.

    Yields:
        The ``matplotlib.figure.Figure``.

    Raises:
        BackendMissing: If matplotlib is not there.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise BackendMissing("pictures need matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    yield figure
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi)
