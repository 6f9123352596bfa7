"""What a person sees of a long run: a progress bar, and TensorBoard where it is installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from emnas_gym.history import Row
from emnas_gym.measurement import Measurement


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
        self._writer = _summary_writer(logdir)

    def __call__(self, row: Row) -> None:
        """Shows one evaluation."""
        self._count += 1
        self._best = max(self._best, row.reward)
        title = f"{self._title}, best reward {self._best:.4f}"
        self._progress.update(self._bar, advance=1, description=title)
        if self._writer is not None:
            self._write(row)

    def _write(self, row: Row) -> None:
        self._writer.add_scalar("search/reward", row.reward, self._count)
        self._writer.add_scalar("search/best_reward", self._best, self._count)
        if isinstance(row.result, Measurement):
            for field in ("accuracy", "latency_ms"):
                if (value := getattr(row.result, field)) is not None:
                    self._writer.add_scalar(f"search/{field}", value, self._count)

    def close(self) -> None:
        """Writes out the TensorBoard log."""
        if self._writer is not None:
            self._writer.close()


def _summary_writer(logdir: Path | None) -> Any:  # noqa: ANN401
    if logdir is None or importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(logdir))


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
