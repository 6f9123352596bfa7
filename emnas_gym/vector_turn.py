"""One step of many environments: what was asked, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emnas_gym.vector_info import Info

Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass
class Turn:
    """One step of N environments.

    Attributes:
        tokens: (N,), what is placed, or was asked for where it is illegal.
        stepped: (N,), environments that take the step; others are only reset.
        all_step: Whether these are all.
        invalid: (N,), those of them whose token was illegal.
        rewards: (N,).
        terminated: (N,).
        truncated: (N,).
        finished: Environments whose network is complete.
        measured: How many of these were measured; the first ones.
        spent: (N,), environments that find the ledger spent.
        info: What those that are finished, or ended illegally, tell.
    """

    tokens: Ints
    stepped: Flags
    all_step: bool
    invalid: Flags
    rewards: NDArray[np.float64]
    terminated: Flags
    truncated: Flags
    finished: Ints
    measured: int
    spent: Flags | None
    info: Info
