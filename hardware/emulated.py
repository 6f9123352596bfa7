"""Instructions on an emulated Cortex-M as an evaluator: our firmware really runs the network."""

from __future__ import annotations

from typing import Self

from emnas_gym.errors import DomainError
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.tasks import Task
from hardware.boards import BoardEvaluator
from hardware.drivers.spec import DeviceSpec
from hardware.emulator import BOARDS
from hardware.farm import Farm
from hardware.host import Weights
from hardware.reading import Reading, Repeats


class EmulatedEvaluator(BoardEvaluator):
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
        boards: How many are emulated at once; each takes a processor.

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
        boards: int = 1,
    ) -> None:
        if core not in BOARDS:
            raise DomainError(f"no emulated board has a {core}; there are {', '.join(BOARDS)}")
        self.core, self.clock_mhz = core, clock_mhz
        specs = [DeviceSpec("emulated", core)] * boards
        super().__init__(task, Farm(specs, repeats or Repeats(timed=3, warm_up=1)), weights)

    @classmethod
    def for_problem(cls, problem: Problem) -> Self:
        """Makes the evaluator of a problem's task, and of its device's core and clock.

        Raises:
            DomainError: If no emulated board has that core.
        """
        return cls(problem.task, problem.device.core.lower(), problem.device.clock_mhz)

    def _measurement(self, reading: Reading, seconds: float) -> Measurement:
        instructions = round(reading.reported_ticks * BOARDS[self.core].instructions_a_tick)
        return Measurement.of(
            reading.provenance,
            instructions=instructions,
            latency_ms=instructions / (self.clock_mhz * 1e3),
            seconds=seconds,
        )
