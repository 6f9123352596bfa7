"""DARTS-minus: a further skip beside every edge, which is taken away little by little.

A skip wins in DARTS partly because it makes the supernet easier to train, not because the network
is better with it. A skip without parameters that is there anyway takes that advantage from the one
that competes, and has vanished when the architecture is read off (Chu et al. 2021, "DARTS-").
"""

from __future__ import annotations

import math


def factor(first: float, decay: str, epoch: int, epochs: int) -> float:
    """Factor of the auxiliary skip in an epoch; exactly 0 in the last one.

    Args:
        first: In epoch 0.
        decay: ``linear`` or ``cosine``.
        epoch: From 0.
        epochs: Of the whole search.
    """
    if epoch >= epochs - 1:
        return 0.0
    part = epoch / (epochs - 1)
    return first * (1 - part if decay == "linear" else 0.5 * (1 + math.cos(math.pi * part)))
