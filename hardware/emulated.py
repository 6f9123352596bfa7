"""Instructions on an emulated Cortex-M as an evaluator: our firmware really runs the network."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Self

from emnas_gym.architecture import Architecture
from emnas_gym.errors import DomainError, EvaluationError, InvalidArchitecture
from emnas_gym.evaluator import Domain, Evaluator, Result
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.tasks import Task
from hardware.deployment import deploy
from hardware.drivers.framed import EmulatedDriver
from hardware.emulator import BOARDS
from hardware.errors import DeviceError, DeviceRefused, ModelFileError, WeightsError
from hardware.host import Weights
from hardware.random_weights import random_images, random_weights
from hardware.reading import Reading, Repeats

TRIES = 3  # of one network; before each but the first the board begins anew


class EmulatedEvaluator(Evaluator):
    """Counts ``instructions`` on an emulated board; ``latency_ms`` is that count ÷ clock.

    That quotient is no time of a real board: it takes one cycle an instruction, with no pipeline,
    cache or wait states. It orders networks, and its provenance says what it is. The output of
    every run is compared with the reference kernels to the bit.

    Args:
        task: Input shape and classes.
        core: ``"cortex-m3"``, ``"cortex-m4"`` or ``"cortex-m7"``.
        clock_mhz: By which instructions are divided.
        weights: Weights of an architecture; random ones if None, which take the same instructions
            but for those that depend on values.
        repeats: How often each network runs.

    Attributes:
        readings: Of the last batch, by architecture: ticks, arena, stack, checksums.

    Raises:
        DomainError: If there is no such core.
    """

    provides = frozenset({"instructions", "latency_ms"})
    repeatable = False  # the count's last digits depend on where the clock's ticks fall

    def __init__(
        self,
        task: Task,
        core: str = "cortex-m4",
        clock_mhz: float = 180.0,
        weights: Weights | None = None,
        repeats: Repeats | None = None,
    ) -> None:
        if core not in BOARDS:
            raise DomainError(f"no emulated board has a {core}; there are {', '.join(BOARDS)}")
        self.task, self.core, self.clock_mhz, self.weights = task, core, clock_mhz, weights
        self.repeats = repeats or Repeats(timed=3, warm_up=1)
        self.domain = Domain(task=task.name)
        self.readings: dict[Architecture, Reading] = {}
        self._driver: EmulatedDriver | None = None

    @classmethod
    def for_problem(cls, problem: Problem) -> Self:
        """Makes the evaluator of a problem's task, and of its device's core and clock.

        Raises:
            DomainError: If no emulated board has that core.
        """
        return cls(problem.task, problem.device.core.lower(), problem.device.clock_mhz)

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        self.readings = {}
        return [self._measure(architecture) for architecture in batch]

    def _measure(self, architecture: Architecture) -> Result:
        start = time.perf_counter()
        try:
            reading = self._read(architecture)
        except (InvalidArchitecture, WeightsError, ModelFileError, DeviceError) as error:
            return EvaluationError(f"{architecture!r}: {error}")
        self.readings[architecture] = reading
        instructions = round(reading.reported_ticks * BOARDS[self.core].instructions_a_tick)
        return Measurement.of(
            reading.provenance,
            instructions=instructions,
            latency_ms=instructions / (self.clock_mhz * 1e3),
            seconds=time.perf_counter() - start,
        )

    def _read(self, architecture: Architecture) -> Reading:
        graph = architecture.graph(self.task)
        weights = self.weights(architecture) if self.weights else random_weights(graph)
        deployment = deploy(graph, weights, random_images(self.task.input_shape, 2))
        for tries in range(1, TRIES + 1):
            try:
                self._driver = self._driver or EmulatedDriver(self.core)
                return self._driver.measure(deployment, self.repeats)
            except DeviceRefused:
                raise
            except DeviceError:
                self.close()
                if tries == TRIES:
                    raise
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Ends the emulator; the next evaluation starts it again."""
        if self._driver is not None:
            self._driver.close()
            self._driver = None
