"""Worker processes of long runs."""

from __future__ import annotations

import platform

import pytest
import torch

from predictors.workers import make_pool

PAGES = (32 << 20) // 4096  # of one array


def _start() -> None:
    """What a worker of no task does first."""


def _faults() -> int:
    """Pages that the system must give for ten arrays, when ten like them have been freed."""
    import resource

    for _ in range(10):
        torch.ones(8 << 20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.ones(8 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_a_worker_keeps_the_memory_that_was_freed() -> None:
    with make_pool(1, _start, ()) as pool:
        assert pool.submit(_faults).result() < PAGES
