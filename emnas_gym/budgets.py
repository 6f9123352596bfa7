"""Limits that a deployable network keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emnas_gym.columns import Columns
from emnas_gym.errors import InfeasibleBudgets, UnknownName
from emnas_gym.measurement import Measurement

MASKED = ("flash_bytes", "ram_bytes", "macs")  # what the action mask guarantees


@dataclass(frozen=True)
class Budgets:
    """Upper limits; None is no limit. Flash, RAM and MACs are guaranteed by the action mask.

    Attributes:
        ram_bytes: Arena head plus persistent part.
        flash_bytes: Size of the int8 model file.
        latency_ms: One inference; decided at the end of an episode.
        energy_mj: One inference; decided at the end of an episode.
        macs: Multiply-accumulates of one inference.
    """

    ram_bytes: int | None = None
    flash_bytes: int | None = None
    latency_ms: float | None = None
    energy_mj: float | None = None
    macs: int | None = None

    def __post_init__(self) -> None:
        """Refuses limits that are not positive numbers."""
        for name, limit in asdict(self).items():
            if limit is None:
                continue
            if isinstance(limit, bool) or not isinstance(limit, Real):
                raise InfeasibleBudgets(f"budget {name} = {limit!r} is not a number")
            if not float(limit) > 0:
                raise InfeasibleBudgets(f"budget {name} = {limit!r} is not above 0")

    @classmethod
    def of(cls, limits: Budgets | Mapping[str, Any] | None) -> Budgets:
        """Makes budgets from a mapping.

        Raises:
            UnknownName: If a limit has an unknown name.
            InfeasibleBudgets: If a limit is not a number above 0, or it is no mapping at all.
        """
        if limits is None:
            return cls()
        if isinstance(limits, Budgets):
            return limits
        if not isinstance(limits, Mapping):
            raise InfeasibleBudgets(f"budgets are a mapping of limits by name, not {limits!r}")
        known = {f.name for f in fields(cls)}
        for name in limits:
            if name not in known:
                raise UnknownName("budget", name, known)
        return cls(**limits)

    def broken(self, measurement: Measurement) -> dict[str, tuple[float, float]]:
        """The limits that a measurement breaks: name → (value, limit)."""
        broken = {}
        for name, limit in self.limits:
            value = getattr(measurement, name)
            if value is not None and value > limit:
                broken[name] = (value, limit)
        return broken

    def any_broken(self, columns: Columns) -> NDArray[np.bool_]:
        """Which networks break a limit, shape (N,)."""
        broken = np.zeros(len(columns), dtype=np.bool_)
        for name, limit in self.limits:
            if name in columns.values:
                broken |= columns.values[name] > limit  # no limit is broken by NaN, the unknown
        return broken

    @cached_property
    def limits(self) -> tuple[tuple[str, float], ...]:
        """Names and values of the limits that are set."""
        return tuple(self.to_json().items())

    def to_json(self) -> dict[str, float]:
        """The limits that are set."""
        return {name: limit for name, limit in asdict(self).items() if limit is not None}
