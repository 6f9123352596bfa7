"""Up to how many MACs a table's networks were drawn: kept with it, for what is fitted on it."""

from __future__ import annotations

from collections.abc import Mapping

from emnas_gym.errors import StoreError
from predictors.store import TableStore

KEY = "max_macs"
LONGEST = 18  # digits, which a 64-bit integer holds


def note_limit(store: TableStore, max_macs: int | None) -> None:
    """Notes the largest limit of all runs; one run without a limit, and there is none.

    Args:
        store: Before this run adds anything.
        max_macs: Limit of this run, multiply-accumulates; None draws from all networks.

    Raises:
        StoreError: If what was noted before is damaged.
    """
    if store.done():
        known = drawn_limit(store.about())
        max_macs = None if known is None or max_macs is None else max(known, max_macs)
    store.note(KEY, "" if max_macs is None else str(max_macs))


def drawn_limit(about: Mapping[str, str]) -> int | None:
    """The limit, in multiply-accumulates; None if all networks could be drawn.

    Args:
        about: Of the store, or of a table read from it.

    Raises:
        StoreError: If it is damaged.
    """
    noted = about.get(KEY, "")
    if not noted:
        return None
    if not (noted.isascii() and noted.isdigit() and len(noted) <= LONGEST and int(noted) > 0):
        raise StoreError(f"a damaged table: {KEY} = {noted[:40]!r} is no number of MACs")
    return int(noted)
