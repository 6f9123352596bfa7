"""Several devices of one kind behind one queue.

Whatever is free takes the next network, and, once none waits, the one that another device has had
for suspiciously long. A device that fails is opened anew and tried again, set aside for a while if
that does not help, and given up in the end; the others go on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hardware.deployment import Deployment
from hardware.drivers.base import Answer, Driver
from hardware.drivers.spec import DeviceSpec
from hardware.errors import DeviceError, FarmStopped
from hardware.farm_job import SLICE, Job
from hardware.reading import Reading, Repeats

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How failures are met.

    Attributes:
        tries: Attempts at one network before it is taken for the culprit.
        failures: Failures in a row after which a device is set aside.
        rest_seconds: How long at first; each time twice as long.
        rests: Times that it is set aside before it is given up.
        disagreement: Share by which a device's time of one network may differ from what the
            first device took; beyond, it is another kind of device, and is left out.
    """

    tries: int = 3
    failures: int = 3
    rest_seconds: float = 5.0
    rests: int = 4
    disagreement: float = 0.2


@dataclass
class Member:
    """One device of a farm, and how it has done so far.

    Attributes:
        spec: Which.
        name: Of the device; a number sets apart those of one name.
        driver: Open, or None.
        state: ``"ready"``, ``"resting"``, ``"given up"`` or ``"left out"``.
        measured: Networks.
        failures: In all.
        words: Its last error.
        busy_seconds: Time that it spent measuring.
    """

    spec: DeviceSpec
    name: str
    driver: Driver | None = None
    state: str = "ready"
    measured: int = 0
    failures: int = 0
    words: str = ""
    busy_seconds: float = 0.0
    in_a_row: int = 0
    rests: int = 0
    proven: bool = False
    alone: threading.Lock = field(default_factory=threading.Lock)  # one thread at a time

    @property
    def works(self) -> bool:
        """Whether it may still measure something."""
        return self.state in ("ready", "resting")

    def release(self) -> None:
        """Closes it."""
        driver, self.driver = self.driver, None
        if driver is not None:
            driver.close()


class Farm:
    """Measures networks on several devices of one kind.

    Args:
        devices: Such as ``["framed:/dev/ttyUSB0", "framed:/dev/ttyUSB1"]``.
        repeats: How often each network runs.
        patience: How failures are met.

    Attributes:
        members: The devices, with what became of them.

    Raises:
        DeviceError: If no device is named.
        UnknownName, BackendMissing: If a driver is unknown, or cannot be used here.
    """

    def __init__(
        self,
        devices: Sequence[str | DeviceSpec],
        repeats: Repeats | None = None,
        patience: Patience | None = None,
    ) -> None:
        if not devices:
            raise DeviceError("a farm without a device: name one, e.g. emulated:cortex-m4")
        specs = [DeviceSpec.parse(d) if isinstance(d, str) else d for d in devices]
        self.members = [Member(spec, name) for spec, name in zip(specs, _names(specs), strict=True)]
        self.repeats, self.patience = repeats or Repeats(), patience or Patience()
        self.formats = tuple(dict.fromkeys(name for spec in specs for name in spec.formats))
        self._reference: tuple[Deployment, Reading] | None = None  # the first that was measured
        self._scout: Member | None = None  # who measures it; the others wait for its number
        self._lock = threading.Lock()

    def measure(self, deployments: Sequence[Deployment]) -> list[Answer]:
        """Measures a batch.

        Returns:
            For each network its reading, or the error of the device that refused it or that it
            brought down every time.

        Raises:
            FarmStopped: If no device is left; it holds what was measured until then.
            UnknownName, BackendMissing: If a device can never be opened.
        """
        for member in self.members:
            if member.state == "given up":  # somebody may have put the plug back
                member.state, member.rests, member.in_a_row = "ready", self.patience.rests, 0
        job = Job(len(deployments), self.patience.tries)
        workers = [
            threading.Thread(target=self._work, args=(member, job, deployments), daemon=True)
            for member in self.members
            if member.works
        ]
        for worker in workers:
            worker.start()
        try:
            job.wait(lambda: any(worker.is_alive() for worker in workers))
        finally:
            job.stop()
        if job.broken is not None:
            raise job.broken
        answers = [answer for answer in job.answers if answer is not None]
        if len(answers) < len(deployments):
            said = "; ".join(f"{m.name}: {m.state}, {m.words}" for m in self.members)
            raise FarmStopped(f"no device is left ({said})", job.answers)
        return answers

    def report(self) -> list[dict[str, str | int | float]]:
        """What became of each device."""
        return [
            {
                "device": member.name,
                "state": member.state,
                "measured": member.measured,
                "failures": member.failures,
                "busy_seconds": round(member.busy_seconds, 3),
                "last_error": member.words,
            }
            for member in self.members
        ]

    def close(self) -> None:
        """Closes every device; the next batch opens them again."""
        for member in self.members:
            member.release()

    def _work(self, member: Member, job: Job, deployments: Sequence[Deployment]) -> None:
        """One device's thread: takes networks until there are no more."""
        try:
            with member.alone:  # it may still be at a network that another device took over
                while member.works and not job.over:
                    if self._ready(member, job):
                        self._next(member, job, deployments)
        except BaseException as error:
            job.break_off(error)
            member.release()

    def _ready(self, member: Member, job: Job) -> bool:
        """Opens the device if need be, and lets it prove itself if it is new or has failed."""
        try:
            member.driver = member.driver or member.spec.open()
            if not member.proven:
                self._prove(member, job)
        except DeviceError as error:
            self._failed(member, job, error)
        return member.proven

    def _prove(self, member: Member, job: Job) -> None:
        """Lets a device measure once more what was measured first: is it well, and of our kind?"""
        with self._lock:
            if self._reference is None and self._scout is None:
                self._scout = member
            known, scout = self._reference, self._scout
        if known is None:
            member.proven = scout is member
            if not member.proven:
                job.rest(SLICE)
            return
        assert member.driver is not None
        deployment, first = known
        ratio = member.driver.measure(deployment, self.repeats).latency_ms / first.latency_ms
        if abs(ratio - 1.0) <= self.patience.disagreement:
            member.proven, member.in_a_row = True, 0
            return
        member.state = "left out"
        member.words = f"takes {ratio:.2f} times as long as {first.device} took"
        log.warning("%s %s: another kind of device?", member.name, member.words)
        member.release()

    def _next(self, member: Member, job: Job, deployments: Sequence[Deployment]) -> None:
        """Takes networks from the queue and measures them."""
        assert member.driver is not None
        taken = job.take(member.driver.batch)
        if not taken:
            return
        start = time.monotonic()
        try:
            answers = member.driver.measure_all([deployments[i] for i in taken], self.repeats)
        except DeviceError as error:
            job.give_back(taken, error, blame=self._reference is not None)
            self._failed(member, job, error)
            return
        member.busy_seconds += time.monotonic() - start
        member.in_a_row = member.rests = 0
        for i, answer in zip(taken, answers, strict=True):
            member.measured += job.finish(i, self._named(member, answer, deployments[i]))

    def _named(self, member: Member, answer: Answer, deployment: Deployment) -> Answer:
        """The answer with its device's name; the first reading of all becomes the reference."""
        if isinstance(answer, DeviceError):
            return answer
        reading = replace(answer, device=member.name)
        with self._lock:
            self._reference = self._reference or (deployment, reading)
        return reading

    def _failed(self, member: Member, job: Job, error: DeviceError) -> None:
        """Closes a device that failed, and sets it aside where that has not helped."""
        member.failures += 1
        member.in_a_row += 1
        member.words, member.proven = str(error), False
        member.release()
        with self._lock:
            if self._scout is member:
                self._scout = None
        log.info("%s failed: %s", member.name, error)
        if member.in_a_row < self.patience.failures:
            return
        if member.rests >= self.patience.rests:
            member.state = "given up"
            log.warning("%s is given up: %s", member.name, error)
            return
        member.state, seconds = "resting", self.patience.rest_seconds * 2.0**member.rests
        log.warning("%s is set aside for %g s: %s", member.name, seconds, error)
        job.rest(seconds)
        member.state = "ready"
        member.rests += 1
        member.in_a_row = self.patience.failures - 1  # one more failure sets it aside again


def _names(specs: Sequence[DeviceSpec]) -> list[str]:
    names = [spec.name for spec in specs]
    return [
        f"{name} #{names[:i].count(name) + 1}" if names.count(name) > 1 else name
        for i, name in enumerate(names)
    ]
