"""Worker processes of long runs."""

from __future__ import annotations

import platform

import pytest
import torch

from predictors.workers import make_pool

PAGES = (32 << 20) // 4096  # of one array
ROUNDS = 3


def _start() -> None:
    """What a worker of no task does first."""


def _faults() -> list[int]:
    """Pages that the system must give for ten arrays, in rounds after ten like them were freed."""
    import resource

    given = []
    for _ in range(1 + ROUNDS):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(10):
            torch.ones(8 << 20)
        given.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    return given[1:]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_a_worker_keeps_the_memory_that_was_freed() -> None:
    with make_pool(1, _start, ()) as pool:
        # something small may come to lie where an array was: the next one then needs a new place
        assert min(pool.submit(_faults).result()) < PAGES
