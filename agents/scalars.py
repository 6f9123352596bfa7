"""Numbers of a running search for TensorBoard, or for nobody."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Self

from emnas_gym.errors import BackendMissing


class Scalars:
    """A TensorBoard log; without a folder it ignores what it is given.

    Args:
        folder: Where the event file is written; None writes nothing.

    Raises:
        BackendMissing: If there is a folder, but TensorBoard is not installed.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._writer: Any = None
        if folder is None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError as error:
            message = f"a TensorBoard log needs {error.name}: pip install torch tensorboard"
            raise BackendMissing(message) from error
        self._writer = SummaryWriter(str(folder))

    def add(self, evaluations: int, **values: float) -> None:
        """Writes numbers at a count of evaluations; ``a__b`` is shown as b in the group a."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name.replace("__", "/"), value, evaluations)

    def __enter__(self) -> Self:
        """Opens nothing further."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Writes out what is buffered."""
        if self._writer is not None:
            self._writer.close()
