"""Costs that follow from shapes alone, and the latency line of the device."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from emnas_gym import costs
from emnas_gym.architecture import Architecture
from emnas_gym.chain_costs import chain_costs
from emnas_gym.columns import Columns
from emnas_gym.cost_vectors import FLASH, HEAD, KEPT, MACS, PLANNING, ram_of
from emnas_gym.devices import Device
from emnas_gym.evaluator import Evaluator, Result
from emnas_gym.grammar import Grammar
from emnas_gym.graph import LayerGraph
from emnas_gym.layer_automaton import LayerAutomaton
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.tasks import Task
from emnas_gym.walks import Walks

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

    def columns(self, walks: Walks) -> Columns:
        """Costs that the walks have added up already, and the device's line."""
        automaton = walks.automaton
        if walks.task != self.task or not isinstance(automaton, LayerAutomaton):
            return super().columns(walks)
        spent = walks.spent.T.astype(np.float64)  # whole numbers, far below 2⁵³
        head = spent[HEAD]
        params = np.add.reduce(automaton.params.take(walks.places.T))  # 0 after the end
        known = {
            "macs": spent[MACS],
            "params": params.astype(np.float64),
            "flash_bytes": spent[FLASH],
            "arena_head_bytes": head,
            "ram_bytes": np.maximum(spent[KEPT] + head, spent[PLANNING]),
        }
        slope, power = self.device.latency_b_ms_per_mac, self.device.active_power_mw
        if slope is not None:
            known["latency_ms"] = (self.device.latency_a_ms or 0.0) + slope * known["macs"]
            if power is not None:
                known["energy_mj"] = power * known["latency_ms"] / 1000.0
        return Columns(known, dict.fromkeys(known, "analytic"))

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        return [self._measure(architecture) for architecture in batch]

    def _measure(self, architecture: Architecture) -> Measurement:
        if not isinstance(architecture.space, Grammar):
            return self._measure_graph(architecture.graph(self.task))
        layers = chain_costs(architecture.space, self.task.classes)
        spent, params = layers.network(self.task, architecture.tokens)
        known = {
            "params": params,
            "flash_bytes": int(spent[FLASH]),
            "arena_head_bytes": int(spent[HEAD]),
            "ram_bytes": int(ram_of(spent)),
        }
        return self._timed(int(spent[MACS]), known)

    def _measure_graph(self, graph: LayerGraph) -> Measurement:
        """A network with branches, whose RAM depends on which maps are alive together."""
        known = {
            "params": costs.params(graph),
            "flash_bytes": costs.flash_bytes(graph),
            "arena_head_bytes": costs.arena_head_bytes(graph),
            "ram_bytes": costs.ram_bytes(graph),
        }
        return self._timed(costs.macs(graph), known)

    def _timed(self, macs: int, known: dict[str, int]) -> Measurement:
        latency = self.latency_ms(macs)
        power = self.device.active_power_mw
        energy = None if latency is None or power is None else power * latency / 1000.0
        return Measurement.of("analytic", macs=macs, latency_ms=latency, energy_mj=energy, **known)
