"""Parts of a long comparison, kept so that the same command goes on after an interruption."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from emnas_gym.errors import StoreError
from predictors.fitted import Figures


class Unfinished:
    """Finished parts of a run, by name, in a file that is removed once all are there.

    Args:
        path: The file; None keeps nothing beyond the process.
        about: What makes two runs the same; parts of another run are not used.

    Raises:
        StoreError: If the file is damaged.
    """

    def __init__(self, path: Path | None, about: dict[str, Any]) -> None:
        self.path, self.about = path, about
        self.parts: dict[str, Figures] = {}
        if path is not None and path.is_file():
            try:
                content = json.loads(path.read_text(encoding="utf-8"))
                self.parts = dict(content["parts"]) if content["about"] == about else {}
            except (ValueError, KeyError, TypeError) as error:
                raise StoreError(f"{path} is damaged ({error!r}); remove it") from error

    def part(self, name: str, make: Callable[[], Figures]) -> Figures:
        """A part: what is kept, or else what is made now and kept."""
        if name not in self.parts:
            self.parts[name] = make()
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                partial = self.path.with_suffix(".new")
                content = {"about": self.about, "parts": self.parts}
                partial.write_text(json.dumps(content, allow_nan=False), encoding="utf-8")
                partial.replace(self.path)
        return self.parts[name]

    def finish(self) -> None:
        """Removes the file."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
