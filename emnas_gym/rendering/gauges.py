"""Costs against budgets as gauges, and measured numbers as text for people."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emnas_gym.measurement import Measurement

GAUGES = {  # what is shown against budgets, in this order
    "flash_bytes": "flash",
    "ram_bytes": "RAM",
    "macs": "MACs",
    "latency_ms": "latency",
    "energy_mj": "energy",
}
COUNTED = frozenset({"analytic", "emulated-insn"})  # a latency that follows from a count


@dataclass(frozen=True, slots=True)
class Gauge:
    """One cost against its limit.

    Attributes:
        name: A key of `GAUGES`.
        value: The cost; None where it is not known.
        limit: The budget; None where there is none.
        before: The cost without the last layer; what lies above it is shown as its share.
        usual: What is usual, where there is no limit to compare with.
        approximate: Whether the value follows from a count, and is shown with ``≈``.
    """

    name: str
    value: float | None
    limit: float | None = None
    before: float | None = None
    usual: float | None = None
    approximate: bool = False

    @property
    def title(self) -> str:
        """Name for people."""
        return GAUGES[self.name]

    @property
    def over(self) -> bool:
        """Whether the limit is broken."""
        return self.value is not None and self.limit is not None and self.value > self.limit

    @property
    def full(self) -> float:
        """Value at the right end of the bar: beyond the mark, and beyond the value."""
        value = self.value or 0.0
        if self.mark is None:
            return round_up(value)
        return max((1.25 if self.limit else 2.0) * self.mark, 1.05 * value)

    @property
    def mark(self) -> float | None:
        """Where the bar has its mark: the limit, else what is usual."""
        return self.usual if self.limit is None else self.limit

    @property
    def text(self) -> str:
        """The value with its unit."""
        if self.value is None:
            return "not known"
        return ("≈ " if self.approximate else "") + quantity(self.name, self.value)

    @property
    def limit_text(self) -> str:
        """The limit with its unit, else what is usual."""
        if self.mark is None:
            return "no limit"
        return ("usual " if self.limit is None else "of ") + quantity(self.name, self.mark)


def gauges(
    values: Mapping[str, float],
    limits: Mapping[str, float],
    *,
    before: Mapping[str, float] | None = None,
    usual: Mapping[str, float] | None = None,
    provenance: Mapping[str, str] | None = None,
) -> tuple[Gauge, ...]:
    """A gauge for each of `GAUGES` that has a value or a limit.

    Args:
        values: The costs.
        limits: The budgets that are set.
        before: The costs without the last layer.
        usual: What is usual, shown where there is no limit.
        provenance: Where each value comes from.
    """
    shown = [name for name in GAUGES if values.get(name) is not None or name in limits]
    return tuple(
        Gauge(
            name,
            values.get(name),
            limits.get(name),
            (before or {}).get(name),
            (usual or {}).get(name),
            name == "latency_ms" and (provenance or {}).get(name) in COUNTED,
        )
        for name in shown
    )


def known_values(measurement: Measurement) -> dict[str, float]:
    """The costs of a measurement that a gauge can show."""
    values = {name: getattr(measurement, name) for name in GAUGES}
    return {name: float(value) for name, value in values.items() if value is not None}


def round_up(value: float) -> float:
    """The next of 1, 2, 5 · 10ⁿ above a value."""
    if not value > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)


def quantity(name: str, value: float) -> str:
    """A measured number with its unit, for people.

    Args:
        name: Field of a measurement, e.g. ``"flash_bytes"``.
        value: Its value.
    """
    if name.endswith("_bytes"):
        return f"{value:,.0f} B" if value < 1024 else _scaled(value, 1024, ("KiB", "MiB", "GiB"))
    if name.endswith("_ms"):
        return f"{_significant(value)} ms"
    if name.endswith("_mj"):
        return f"{_significant(value)} mJ"
    if name == "accuracy":
        return f"{100 * value:.1f} %"
    return f"{value:,.0f}" if value < 10_000 else _scaled(value, 1000, ("k", "M", "G"))


def _significant(value: float) -> str:
    if value == 0:
        return "0"
    digits = min(max(2 - math.floor(math.log10(abs(value))), 0), 6)
    return f"{value:,.{digits}f}"


def _scaled(value: float, base: int, units: Sequence[str]) -> str:
    """The value in the largest unit of which there is at least one."""
    power = min(max(int(math.log(value, base)), 1), len(units))
    scaled = value / base**power
    return f"{scaled:.{1 if scaled < 100 else 0}f} {units[power - 1]}"
