"""Names of processes that write, so that claims of those that are gone count for nothing."""

from __future__ import annotations

import os
from pathlib import Path


def writer_of(pid: int) -> str:
    """A name for a process that no later process of the same number has."""
    return f"{pid}/{_started(pid)}"


def is_alive(writer: str) -> bool:
    """Whether the process of a name still runs on this machine."""
    pid, _, started = writer.partition("/")
    if not pid.isdecimal() or not _exists(int(pid)):
        return False
    return started == _started(int(pid))


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _started(pid: int) -> str:
    """When a process began, in the kernel's ticks; empty where the system does not say."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    fields = text.rpartition(")")[2].split()
    return fields[19] if fields[0] != "Z" else "ended"
