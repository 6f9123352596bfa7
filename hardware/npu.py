"""Cycles and latency on an Ethos-U as an evaluator: exported, then compiled by Vela."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Self

from emnas_gym.architecture import Architecture
from emnas_gym.budgets import Budgets
from emnas_gym.errors import DomainError, EvaluationError, InvalidArchitecture
from emnas_gym.evaluator import Domain, Evaluator, Result
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.tasks import Task
from hardware.errors import CompilerError, WeightsError
from hardware.export import export_int8
from hardware.host import Weights
from hardware.npu_compiler import NpuReport, compile_model
from hardware.npu_configs import npu_config
from hardware.random_weights import random_images, random_weights

DEFAULT_ACCELERATOR = "ethos-u55-128"


class NpuEvaluator(Evaluator):
    """Estimates ``npu_cycles`` and ``latency_ms``; provenance ``analytic``; sets ``feasible``.

    A network is feasible if its peak use of SRAM and its constants fit the budgets. One with an
    operator that the NPU cannot run gets an `EvaluationError`, since nobody knows its time.

    Args:
        task: Input shape and classes.
        accelerator: E.g. ``"ethos-u55-128"``, or one of `hardware.npu_configs.npu_configs`.
        clock_mhz: Clock of the NPU; that of Vela's system configuration if None.
        budgets: Limits on RAM (the NPU's SRAM) and flash.
        weights: Weights of an architecture; random ones if None.
    """

    provides = frozenset({"npu_cycles", "latency_ms"})
    repeatable = True

    def __init__(
        self,
        task: Task,
        accelerator: str = DEFAULT_ACCELERATOR,
        clock_mhz: float | None = None,
        budgets: Budgets | None = None,
        weights: Weights | None = None,
    ) -> None:
        self.task, self.accelerator, self.clock_mhz = task, accelerator, clock_mhz
        self.budgets, self.weights = budgets or Budgets(), weights
        self.config = npu_config(accelerator)
        self.domain = Domain(task=task.name)

    @classmethod
    def for_problem(cls, problem: Problem) -> Self:
        """Makes the evaluator of a problem's task, device and budgets.

        Raises:
            DomainError: If the device has no NPU.
        """
        device = problem.device
        if device.accelerator is None:
            raise DomainError(
                f"device {device.name} has no NPU that Vela knows; choose one that has, "
                f"e.g. device={DEFAULT_ACCELERATOR!r}"
            )
        return cls(problem.task, device.accelerator, device.clock_mhz, problem.budgets)

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        return [self._measure(architecture) for architecture in batch]

    def _measure(self, architecture: Architecture) -> Result:
        start = time.perf_counter()
        try:
            report = compile_model(self.export(architecture), self.config)
        except (InvalidArchitecture, WeightsError, CompilerError) as error:
            return EvaluationError(f"{architecture!r}: {error}")
        if report.cpu_operators:
            return EvaluationError(
                f"{architecture!r}: {report.cpu_operators} operators do not run on "
                f"{self.accelerator}, and the time of its CPU is unknown"
            )
        clock_mhz = self.clock_mhz or report.clock_mhz
        return Measurement.of(
            "analytic",
            npu_cycles=report.cycles,
            latency_ms=report.cycles / (clock_mhz * 1e3),
            feasible=self._fits(report),
            seconds=time.perf_counter() - start,
        )

    def export(self, architecture: Architecture) -> bytes:
        """The int8 file that is compiled."""
        graph = architecture.graph(self.task)
        weights = self.weights(architecture) if self.weights else random_weights(graph)
        return export_int8(graph, weights, random_images(self.task.input_shape, 2))

    def _fits(self, report: NpuReport) -> bool:
        ram, flash = self.budgets.ram_bytes, self.budgets.flash_bytes
        return (ram is None or report.sram_bytes <= ram) and (
            flash is None or report.flash_bytes <= flash
        )
