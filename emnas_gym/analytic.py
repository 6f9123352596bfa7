"""Costs that follow from shapes alone, and the latency line of the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from emnas_gym import costs
from emnas_gym.architecture import Architecture
from emnas_gym.devices import Device
from emnas_gym.evaluator import Evaluator, Result
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.tasks import Task

_COSTS = frozenset({"macs", "params", "flash_bytes", "ram_bytes", "arena_head_bytes"})


class AnalyticEvaluator(Evaluator):
    """Counts MACs, parameters, flash and RAM; latency = a + b · MACs where the device has a line.

    Args:
        task: Input shape and classes.
        device: The board.
    """

    def __init__(self, task: Task, device: Device) -> None:
        self.task, self.device = task, device
        timed = {"latency_ms"} if device.latency_b_ms_per_mac is not None else set()
        powered = {"energy_mj"} if timed and device.active_power_mw is not None else set()
        self.provides = _COSTS | timed | powered

    @classmethod
    def for_problem(cls, problem: Problem) -> Self:
        """Makes the evaluator of a problem's task and device."""
        return cls(problem.task, problem.device)

    def latency_ms(self, macs: int) -> float | None:
        """The device's line at a number of MACs."""
        slope = self.device.latency_b_ms_per_mac
        return None if slope is None else (self.device.latency_a_ms or 0.0) + slope * macs

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        return [self._measure(architecture) for architecture in batch]

    def _measure(self, architecture: Architecture) -> Measurement:
        graph = architecture.graph(self.task)
        macs = costs.macs(graph)
        latency = self.latency_ms(macs)
        power = self.device.active_power_mw
        return Measurement.of(
            "analytic",
            macs=macs,
            params=costs.params(graph),
            flash_bytes=costs.flash_bytes(graph),
            arena_head_bytes=costs.arena_head_bytes(graph),
            ram_bytes=costs.ram_bytes(graph),
            latency_ms=latency,
            energy_mj=None if latency is None or power is None else power * latency / 1000.0,
        )
