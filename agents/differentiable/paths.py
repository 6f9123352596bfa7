"""Drawing one operation an edge until the output of a cell is connected."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from agents.differentiable.divergence import SearchDiverged
from emnas_gym.errors import InvalidArchitecture
from predictors.supernet.wiring import Mask, Wiring

TRIES = 10_000
Drawn = TypeVar("Drawn")


def is_connected(wires: Wiring, mask: Mask) -> bool:
    """Whether a way leads from an input to the output."""
    try:
        wires.live(mask)
    except InvalidArchitecture:
        return False
    return True


def connected(draw: Callable[[], Drawn], wires: Wiring, mask_of: Callable[[Drawn], Mask]) -> Drawn:
    """Draws until the operations connect the output.

    Args:
        draw: Draws anew.
        wires: Edges and operations.
        mask_of: The operations of what was drawn, one an edge.

    Raises:
        SearchDiverged: If `TRIES` draws have none: next to all probability is on ``none``.
    """
    for _ in range(TRIES):
        found = draw()
        if is_connected(wires, mask_of(found)):
            return found
    raise SearchDiverged(
        f"none of {TRIES:,} drawn networks is connected: nearly all probability is on none. A "
        "smaller architecture_rate or latency_weight leaves some to the other operations"
    )
