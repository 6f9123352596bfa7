"""What a person sees of a long run: a progress bar, and TensorBoard where it is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from agents.scalars import Scalars
from emnas_gym.history import Row
from emnas_gym.measurement import Measurement

FIELDS = ("accuracy", "latency_ms")


class Watch:
    """Shows each evaluation of one ledger.

    Args:
        progress: The bars of the run.
        title: Text beside the bar.
        total: Number of evaluations.
        logdir: Folder of the TensorBoard log; None writes none.
    """

    def __init__(
        self, progress: Progress, title: str, total: int, logdir: Path | None = None
    ) -> None:
        self._progress, self._title = progress, title
        self._bar = progress.add_task(title, total=total)
        self._best = float("-inf")
        self._count = 0
        installed = importlib.util.find_spec("tensorboard") is not None
        self._scalars = Scalars(logdir if installed else None)

    def __call__(self, row: Row) -> None:
        """Shows one evaluation."""
        self._count += 1
        self._best = max(self._best, row.reward)
        title = f"{self._title}, best reward {self._best:.4f}"
        self._progress.update(self._bar, advance=1, description=title)
        told = {"reward": row.reward, "best_reward": self._best}
        if isinstance(row.result, Measurement):
            told |= {f: v for f in FIELDS if (v := getattr(row.result, f)) is not None}
        self._scalars.add(self._count, **{f"search__{name}": v for name, v in told.items()})

    def close(self) -> None:
        """Closes the TensorBoard log."""
        self._scalars.close()


@contextmanager
def bars(console: Console) -> Iterator[Progress]:
    """Progress bars on a console, gone when done."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        yield progress
