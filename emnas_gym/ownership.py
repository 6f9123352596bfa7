"""One writer a file: a lock that the operating system drops when its process dies."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from emnas_gym.errors import StoreError


class Ownership:
    """Owns a file until released, or until the process ends in whatever way.

    The lock is an exclusive transaction on a small SQLite file beside it: that works alike on
    every system and leaves the file itself open to readers.

    Args:
        path: The file to own; its folder is made if there is none.

    Raises:
        StoreError: If another process owns it, or it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        lock = path.with_name(path.name + ".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(lock, timeout=0.2, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise StoreError(f"{path} cannot be written: {error}") from error
        try:
            self._db.execute("BEGIN EXCLUSIVE")
        except sqlite3.DatabaseError as error:
            self._db.close()
            if "locked" in str(error):
                raise StoreError(
                    f"{path} is in use by another process; wait for it, or write to another folder"
                ) from error
            if isinstance(error, sqlite3.OperationalError):  # such as a full disk
                raise StoreError(f"{path} cannot be written: {error}") from error
            raise StoreError(f"{lock} is no lock of ours ({error}); remove it") from error

    def release(self) -> None:
        """Lets others have the file."""
        self._db.close()
