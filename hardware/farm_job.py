"""One batch of a farm: which networks wait, who has which, what is known of each."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from hardware.drivers.base import Answer
from hardware.errors import DeviceError

SLICE = 0.05  # seconds between two looks
LATE = 3.0  # times the usual time after which another device takes a network over


class Job:
    """A queue that threads share.

    Args:
        count: Networks.
        tries: Attempts at one of them before its last error becomes its answer.

    Attributes:
        answers: Of each network; None until it has one.
        broken: An error that ends everything.
    """

    def __init__(self, count: int, tries: int) -> None:
        self.broken: BaseException | None = None
        self._tries, self._attempts = tries, [0] * count
        self._waiting = deque(range(count))
        self.answers: list[Answer | None] = [None] * count
        self._started: dict[int, float] = {}  # when what is being measured was taken
        self._taken_over: set[int] = set()
        self._took: list[float] = []  # seconds a network
        self._stopped = False
        self._changed = threading.Condition()

    @property
    def over(self) -> bool:
        """Whether nothing more is to be done."""
        return self._stopped or self.broken is not None or None not in self.answers

    def take(self, most: int) -> list[int]:
        """Some networks that wait; else one that is late elsewhere; waits for these, or the end."""
        with self._changed:
            while not self.over:
                taken = [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]
                taken = taken or self._late()
                if taken:
                    self._started.update(dict.fromkeys(taken, time.monotonic()))
                    return taken
                self._changed.wait(SLICE)
        return []

    def _late(self) -> list[int]:
        """The network that another device has had for longest, if that is suspicious."""
        own = {i: at for i, at in self._started.items() if i not in self._taken_over}
        if not own or not self._took:
            return []
        oldest = min(own, key=lambda i: own[i])
        if time.monotonic() - own[oldest] < LATE * np.median(self._took):
            return []
        self._taken_over.add(oldest)
        return [oldest]

    def finish(self, index: int, answer: Answer) -> bool:
        """Stores an answer; returns whether it was the first."""
        with self._changed:
            started = self._started.pop(index, None)
            first = self.answers[index] is None
            if first:
                self.answers[index] = answer
                if started is not None:
                    self._took.append(time.monotonic() - started)
            self._changed.notify_all()
            return first

    def give_back(self, taken: Sequence[int], error: DeviceError, blame: bool) -> None:
        """Puts networks back into the queue.

        Args:
            taken: Their numbers.
            error: Of the device; becomes the answer of a network that has had all its tries.
            blame: Whether it may be the network's fault, since the device was known to work; else
                the others come first.
        """
        with self._changed:
            for i in reversed(taken):
                self._started.pop(i, None)
                self._taken_over.discard(i)
                if self.answers[i] is not None:
                    continue
                self._attempts[i] += blame
                if self._attempts[i] >= self._tries:
                    self.answers[i] = error
                elif blame:
                    self._waiting.appendleft(i)
                else:
                    self._waiting.append(i)
            self._changed.notify_all()

    def rest(self, seconds: float) -> None:
        """Waits so long, or until nothing more is to be done."""
        end = time.monotonic() + seconds
        with self._changed:
            while not self.over and time.monotonic() < end:
                self._changed.wait(min(SLICE, max(end - time.monotonic(), 0.0)))

    def wait(self, goes_on: Callable[[], bool]) -> None:
        """Waits until every network has its answer, or nobody works any more."""
        with self._changed:
            while not self.over and goes_on():
                self._changed.wait(SLICE)

    def stop(self) -> None:
        """Lets everybody stop at the next opportunity."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def break_off(self, error: BaseException) -> None:
        """Ends everything with an error that no other device would mend."""
        with self._changed:
            self.broken = self.broken or error
            self._changed.notify_all()
