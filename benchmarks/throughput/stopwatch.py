"""Contestants timed in turn, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from emnas_gym.registry import import_string


@dataclass(frozen=True)
class Contestant:
    """One that is timed.

    Attributes:
        prepare: Work before that, not timed.
        work: Work that is timed; it returns how many steps it took.
    """

    prepare: Callable[[], object]
    work: Callable[[], int]


@dataclass
class Times:
    """What one contestant took, one entry a round.

    Attributes:
        wall: Steps a second by the clock.
        cpu: Steps a second of processor time of this process; child processes do not count.
    """

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


@contextmanager
def one_thread() -> Iterator[None]:
    """Keeps linear algebra on one thread, however many the process began with.

    Raises:
        BackendMissing: If the package that can do so is not there.
    """
    with import_string("threadpoolctl:threadpool_limits")(1):
        yield


def race(
    contestants: Mapping[str, Contestant], rounds: int, advance: Callable[[], None]
) -> dict[str, Times]:
    """Lets every contestant work once a round.

    Args:
        contestants: By name.
        rounds: Rounds that count; one before them warms up.
        advance: Called after each round.
    """
    times = {name: Times() for name in contestants}
    for number in range(rounds + 1):
        for name, contestant in contestants.items():
            contestant.prepare()
            wall, cpu = time.perf_counter(), time.process_time()
            steps = contestant.work()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            if number:
                times[name].wall.append(steps / wall)
                times[name].cpu.append(steps / max(cpu, 1e-9))
        if number:
            advance()
    return times


def median(values: list[float]) -> float:
    """The middle one."""
    return float(np.median(values))


def ratio(one: Times, other: Times, cpu: bool = False) -> float:
    """How many times faster one was, round by round: the median of the ratios."""
    pairs = zip(one.cpu, other.cpu, strict=True) if cpu else zip(one.wall, other.wall, strict=True)
    return median([a / b for a, b in pairs])
