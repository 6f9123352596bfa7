"""A seed that decides everything: torch, NumPy and Python, for the time of one search."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def undisturbed() -> Iterator[None]:
    """Restores all global generators afterwards, whatever was drawn or seeded in between."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds all global generators and uses one thread; afterwards all is as it was before.

    Sums over several threads depend on their number in the last bits, which a policy amplifies
    until it draws other networks; for networks of this size one thread is also the fastest.

    Args:
        seed: Any whole number.
    """
    threads = torch.get_num_threads()
    with undisturbed():
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.manual_seed(seed % 2**63)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
