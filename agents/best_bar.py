"""A progress bar that also tells the best reward so far."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


class BestBar:
    """Moved on by each reward.

    Attributes:
        progress: The bar, a context in which it is shown.

    Args:
        title: What goes on.
        total: How many rewards there will be.
        console: Where it is shown.
        quiet: Shows nothing.
    """

    def __init__(self, title: str, total: int, console: Console, quiet: bool) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self.progress = Progress(*columns, console=console, disable=quiet)
        self._title, self._best = title, float("-inf")
        self._task = self.progress.add_task(title, total=total)

    def __call__(self, reward: float) -> None:
        """Counts a reward."""
        self._best = max(self._best, reward)
        title = f"{self._title}, best reward {self._best:.4f}"
        self.progress.update(self._task, advance=1, description=title)
