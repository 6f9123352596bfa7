"""Scenes in a window; where there is no display, as files."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emnas_gym.rendering.canvas import matplotlib_part
from emnas_gym.rendering.picture import SIZE, render_rgb
from emnas_gym.rendering.scene import Scene


class HumanView:
    """Shows scenes in a window; where there is no display, as numbered PNG files.

    Args:
        folder: Where the files go; a new folder for temporary files if None.
    """

    def __init__(self, folder: str | Path | None = None) -> None:
        self._folder = None if folder is None else Path(folder)
        self._frames = 0
        self._window: Any = None
        self._image: Any = None
        self._decided = False

    def show(self, scene: Scene) -> None:
        """Shows a scene.

        Raises:
            DependencyNotInstalled: If matplotlib is missing.
        """
        pixels = render_rgb(scene)
        if not self._decided:
            self._decided = True
            self._window = _open_window()
        if self._window is not None:
            self._draw(pixels)
        else:
            self._write(pixels)

    def close(self) -> None:
        """Closes the window; the next scene would open a new one."""
        if self._window is not None:
            matplotlib_part("pyplot").close(self._window)
        self._window, self._image, self._decided = None, None, False

    def _draw(self, pixels: NDArray[np.uint8]) -> None:
        if not matplotlib_part("pyplot").fignum_exists(self._window.number):
            return  # whoever looked on has closed it
        if self._image is None:
            axes = self._window.add_axes((0, 0, 1, 1))
            axes.set_axis_off()
            self._image = axes.imshow(pixels)
            self._window.show()
        self._image.set_data(pixels)
        self._window.canvas.draw_idle()
        self._window.canvas.flush_events()

    def _write(self, pixels: NDArray[np.uint8]) -> None:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="emnas-frames-"))
        if self._frames == 0:
            self._folder.mkdir(parents=True, exist_ok=True)
            print(f"no display, frames are written to {self._folder}", file=sys.stderr)
        self._frames += 1
        path = self._folder / f"frame-{self._frames:05d}.png"
        matplotlib_part("image").imsave(path, pixels)


def _open_window() -> Any:  # noqa: ANN401
    """A figure in a window; None where no window can be opened."""
    if sys.platform == "linux" and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        return None
    pyplot = matplotlib_part("pyplot")
    registry = matplotlib_part("backends")
    interactive = registry.backend_registry.list_builtin(registry.BackendFilter.INTERACTIVE)
    try:
        window = pyplot.figure(figsize=(SIZE[0] / 100, SIZE[1] / 100), dpi=100)
    except Exception:  # each toolkit has errors of its own, and none of them may end a search
        return None
    if pyplot.get_backend().lower() in interactive:
        return window
    pyplot.close(window)
    return None
