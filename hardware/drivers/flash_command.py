"""A user's own command that puts one network on a board: run without a shell, with a deadline."""

from __future__ import annotations

import re
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path

from emnas_gym.errors import EmNASError
from hardware.c_project import network_header
from hardware.deployment import Deployment
from hardware.errors import DeviceError, DeviceRefused, DeviceTimeout
from hardware.outside import last_words, run_logged

FILES: dict[str, tuple[str, Callable[[Deployment], bytes]]] = {
    "tflite": ("network.tflite", lambda deployment: deployment.tflite),
    "flat": ("network.flat", lambda deployment: deployment.file("flat")),
    "header": ("network.h", lambda deployment: network_header(deployment).encode("ascii")),
}
PLACEHOLDER = re.compile(r"\{(" + "|".join(FILES) + r")\}")


class FlashCommand:
    """Flashes networks with a command.

    Args:
        template: Program and arguments, quoted as in a shell; ``{tflite}``, ``{flat}`` and
            ``{header}`` stand for paths of files that it may read until it ends.
        seconds: Deadline of one run; then it is killed with all that it started.

    Raises:
        EmNASError: If the template is no command, or takes no file of the network.
    """

    def __init__(self, template: str, seconds: float) -> None:
        try:
            self._words = shlex.split(template)
        except ValueError as error:
            raise EmNASError(f"flash command {template!r}: {error}") from error
        if not PLACEHOLDER.search(" ".join(self._words)):
            known = ", ".join(f"{{{name}}}" for name in FILES)
            raise EmNASError(f"flash command {template!r} takes none of {known}")
        self.seconds = seconds

    def __call__(self, deployment: Deployment) -> None:
        """Puts a network on the board.

        Raises:
            DeviceRefused: If the command fails: it may be the network, too large for the board.
            DeviceTimeout: If it does not end.
            DeviceError: If it cannot be started, or was killed.
        """
        with tempfile.TemporaryDirectory(prefix="emnas-flash-") as name:
            folder = Path(name)
            words = [PLACEHOLDER.sub(_writer(folder, deployment), word) for word in self._words]
            log = folder / "log"
            self._run(words, log)

    def _run(self, words: list[str], log: Path) -> None:
        try:
            code = run_logged(words, log, self.seconds)
        except TimeoutError as error:
            raise DeviceTimeout(f"{words[0]} {error}: {last_words(log)}") from error
        except OSError as error:
            raise DeviceError(f"flash command {words[0]} cannot be started: {error}") from error
        if code > 0:
            raise DeviceRefused(f"{words[0]} failed with status {code}: {last_words(log)}")
        if code < 0:
            raise DeviceError(f"{words[0]} was killed by signal {-code}: {last_words(log)}")


def _writer(folder: Path, deployment: Deployment) -> Callable[[re.Match[str]], str]:
    def write(found: re.Match[str]) -> str:
        name, content = FILES[found[1]]
        path = folder / name
        path.write_bytes(content(deployment))
        return str(path)

    return write
