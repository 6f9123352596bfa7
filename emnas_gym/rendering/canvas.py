"""Shapes and text on pixels, painted by matplotlib, which is imported when it is used."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

Point = tuple[float, float]


def mix(colour: str, other: str, share: float) -> str:
    """A colour with a share of another."""
    pairs = [(int(colour[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round((1 - share) * a + share * b):02x}" for a, b in pairs)


class Canvas:
    """Shapes and text at pixels, y pointing down, painted by matplotlib's Agg.

    Args:
        width: In pixels.
        height: In pixels.
        ground: Colour of all that is not painted.

    Raises:
        DependencyNotInstalled: If matplotlib is missing.
    """

    def __init__(self, width: int, height: int, ground: str) -> None:
        figure = matplotlib_part("figure").Figure(figsize=(width / 100, height / 100), dpi=100)
        self._agg = matplotlib_part("backends.backend_agg").FigureCanvasAgg(figure)
        self._patches = matplotlib_part("patches")
        self._axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
        self._axes.set_axis_off()
        figure.set_facecolor(ground)

    def polygon(self, points: Sequence[Point], fill: str, edge: str = "none") -> None:
        """A filled polygon."""
        patch = self._patches.Polygon(points, closed=True, facecolor=fill, edgecolor=edge, lw=0.8)
        self._axes.add_patch(patch)

    def bar(
        self, x: float, y: float, width: float, height: float, fill: str, *, behind: bool = False
    ) -> None:
        """A filled rectangle."""
        patch = self._patches.Rectangle((x, y), width, height, facecolor=fill, lw=0)
        patch.set_zorder(0 if behind else 1)
        self._axes.add_patch(patch)

    def line(self, points: Sequence[Point], colour: str, width: float = 1.0) -> None:
        """A polyline, behind all shapes."""
        xs, ys = zip(*points, strict=True)
        self._axes.plot(xs, ys, color=colour, lw=width, solid_capstyle="butt", zorder=0.9)

    def dots(self, points: Sequence[Point], colour: str, size: float = 3.0) -> None:
        """Filled circles of a diameter in points."""
        xs, ys = zip(*points, strict=True)
        self._axes.plot(xs, ys, "o", color=colour, ms=size, mew=0)

    def arc(self, start: Point, end: Point, colour: str) -> None:
        """A curve that leaps over what lies between."""
        curve = self._patches.FancyArrowPatch(
            start, end, arrowstyle="-", connectionstyle="arc3,rad=-0.3", color=colour, lw=1.2
        )
        self._axes.add_patch(curve)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 9.0,
        colour: str = "#000000",
        *,
        bold: bool = False,
        align: str = "left",
    ) -> None:
        """One line of text whose baseline stands at y."""
        plain = "".join(c if c.isprintable() and ord(c) < 0x2500 else "?" for c in text)
        weight = "bold" if bold else "normal"
        self._axes.text(
            x, y, plain, size=size, color=colour, weight=weight, ha=align, parse_math=False
        )

    def pixels(self) -> NDArray[np.uint8]:
        """All that was painted, shape (height, width, 3)."""
        self._agg.draw()
        return np.array(self._agg.buffer_rgba(), dtype=np.uint8)[..., :3].copy()


def matplotlib_part(module: str) -> Any:  # noqa: ANN401
    """Imports a module of matplotlib.

    Raises:
        DependencyNotInstalled: If matplotlib is missing.
    """
    try:
        return importlib.import_module(f"matplotlib.{module}")
    except ImportError as error:
        raise DependencyNotInstalled(
            "matplotlib is not installed, run `pip install 'emnas-gym[render]'`"
        ) from error
