"""What a device said about one network: every run, and all that is needed to judge it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from hardware.program import Array

FENCE = 3.0  # interquartile ranges beyond the quartiles: Tukey's outer fences (1977)


@dataclass(frozen=True)
class Repeats:
    """How often a network runs.

    Attributes:
        timed: Runs that are timed.
        warm_up: Runs before them.
        seconds: Deadline of all of them together.
    """

    timed: int = 10
    warm_up: int = 2
    seconds: float = 60.0


@dataclass(frozen=True)
class Reading:
    """What a device said about one network.

    Runs beyond Tukey's outer fences, three interquartile ranges beyond the quartiles, are counted
    as outliers and left out of what is reported; ``ticks`` keeps them.

    Attributes:
        ticks: Of its clock, one a timed run.
        ticks_per_second: Of that clock.
        provenance: One of `emnas_gym.measurement.PROVENANCES`.
        clock: What ticks, e.g. ``"utime.ticks_us"``.
        model: CRC-32 of the .tflite file that was meant.
        warm_up: Runs before the timed ones.
        threads: Threads that it ran on.
        percentile: Of the runs which one is reported; 50 is the median.
        difference: Largest difference of its output from the reference kernels', in steps of the
            output; None where the device gives none back.
        arena_bytes: Bytes of activations that it used; 0 if it does not say.
        stack_bytes: The most stack so far; 0 if it does not say.
        firmware: What ran the network: name, version, checksum.
        notes: What else the device said, such as its temperature.
        device: Which of several devices it was.
    """

    ticks: tuple[float, ...]
    ticks_per_second: float
    provenance: str
    clock: str
    model: int
    warm_up: int = 0
    threads: int = 1
    percentile: float = 50.0
    difference: int | None = None
    arena_bytes: int = 0
    stack_bytes: int = 0
    firmware: str = ""
    notes: tuple[str, ...] = ()
    device: str = ""

    @cached_property
    def kept(self) -> Array:
        """The runs within the fences."""
        runs = np.asarray(self.ticks, np.float64)
        low, high = np.percentile(runs, [25, 75])
        reach = FENCE * max(high - low, 1.0)  # a clock's last digit is no outlier
        kept: Array = runs[(runs >= low - reach) & (runs <= high + reach)]
        return kept

    @property
    def outliers(self) -> int:
        """Number of runs beyond the fences."""
        return len(self.ticks) - len(self.kept)

    @property
    def reported_ticks(self) -> float:
        """The percentile that is reported."""
        return float(np.percentile(self.kept, self.percentile))

    @property
    def latency_ms(self) -> float:
        """Time of one run."""
        return self._ms(self.reported_ticks)

    def percentile_ms(self, percentile: float) -> float:
        """Time that so many of a hundred runs do not exceed."""
        return self._ms(float(np.percentile(self.kept, percentile)))

    @property
    def spread_ms(self) -> float:
        """Interquartile range of the runs."""
        return self.percentile_ms(75) - self.percentile_ms(25)

    def to_json(self) -> dict[str, Any]:
        """Plain data, with what follows from the runs beside them."""
        return {
            "provenance": self.provenance,
            "latency_ms": self.latency_ms,
            "p50_ms": self.percentile_ms(50),
            "p90_ms": self.percentile_ms(90),
            "spread_ms": self.spread_ms,
            "outliers": self.outliers,
            "runs": len(self.ticks),
            "warm_up": self.warm_up,
            "threads": self.threads,
            "clock": self.clock,
            "ticks_per_second": self.ticks_per_second,
            "ticks": list(self.ticks),
            "difference": self.difference,
            "arena_bytes": self.arena_bytes,
            "stack_bytes": self.stack_bytes,
            "firmware": self.firmware,
            "model": f"{self.model:08x}",
            "notes": list(self.notes),
            "device": self.device,
        }

    def _ms(self, ticks: float) -> float:
        return 1e3 * ticks / self.ticks_per_second
