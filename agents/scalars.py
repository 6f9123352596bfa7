"""Numbers of a running search for TensorBoard, or for nobody."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from emnas_gym.errors import BackendMissing


class Scalars:
    """A TensorBoard log; without a folder it ignores what it is given.

    Every number is in the file when :meth:`add` returns. The usual ``SummaryWriter`` hands
    numbers to a thread instead, through a queue that may lose a wake-up when Ctrl-C comes at the
    wrong moment: closing it then takes two minutes.

    Args:
        folder: Where the event file is written; None writes nothing.

    Raises:
        BackendMissing: If there is a folder, but TensorBoard is not installed.
        OSError: If the file cannot be written.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._records: Any = None
        if folder is None:
            return
        check_installed()
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = Event, Summary
        self._records = RecordWriter(_new_file(folder))
        self._write(file_version="brain.Event:2")

    def add(self, evaluations: int, **values: float) -> None:
        """Writes numbers at a count of evaluations; ``a__b`` is shown as b in the group a."""
        if self._records is None:
            return
        for name, value in values.items():
            told = self._summary.Value(tag=name.replace("__", "/"), simple_value=float(value))
            self._write(step=evaluations, summary=self._summary(value=[told]))

    def _write(self, **fields: Any) -> None:  # noqa: ANN401
        event = self._event(wall_time=time.time(), **fields)
        self._records.write(event.SerializeToString())
        self._records.flush()

    def close(self) -> None:
        """Closes the file; closing it again changes nothing."""
        if self._records is not None:
            self._records.close()

    def __enter__(self) -> Self:
        """Opens nothing further."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Closes the file."""
        self.close()


def check_installed() -> None:
    """Raises an error now rather than after hours.

    Raises:
        BackendMissing: If TensorBoard is not installed.
    """
    try:
        import tensorboard.summary.writer.record_writer  # noqa: F401
    except ModuleNotFoundError as error:
        message = f"a TensorBoard log needs {error.name}: pip install tensorboard"
        raise BackendMissing(message) from error


def _new_file(folder: Path) -> BinaryIO:
    """A new event file, named so that files of one folder sort by age."""
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / f"events.out.tfevents.{time.time_ns():020d}.{os.getpid()}").open("xb")
