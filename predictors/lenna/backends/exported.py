"""Blocks as deployed models: LiteRT on this machine, an Ethos-U by Vela, an emulated board.

Each reset of the gates is one network, the block alone with a single path, exported and run.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from emnas_gym.errors import EvaluationError
from emnas_gym.graph import GraphBuilder, LayerGraph
from hardware.emulator import QEMU
from hardware.export import export_float, export_int8
from hardware.interpreter import Model
from hardware.npu_compiler import compile_model
from hardware.npu_configs import npu_config
from hardware.operator_counts import OperatorCounter
from hardware.random_weights import random_images, random_weights
from hardware.versions import compiler_version, interpreter_version, program_version
from predictors.lenna.backends.base import Backend, Settings, alone_table, block_graph, timed
from predictors.lenna.gates import Array, Gates
from predictors.lenna.labels import QUANTILE
from predictors.lenna.targets import CORE_CLOCK_MHZ

Runs = Callable[[LayerGraph, int], list[float]]  # microseconds of so many runs of a network


class ExportedBlock:
    """A block whose every reset is a network of its own.

    Args:
        reduction: Type of the block.
        channels: Of its input.
        side: Height and width of its input.
        runs: What times a network.
    """

    def __init__(self, reduction: bool, channels: int, side: int, runs: Runs) -> None:
        self.reduction, self.channels, self.side, self.runs = reduction, channels, side, runs

    def times_us(self, gates: Gates, forwards: int, rng: np.random.Generator) -> Array:
        """Times of resets; see `predictors.lenna.labels.TimedBlock`."""
        return np.array([self.runs(self._graph(reset), forwards) for reset in gates])

    def _graph(self, reset: Gates) -> LayerGraph:
        choices = tuple(int(choice) for choice in reset)
        return block_graph(self.reduction, self.channels, self.side, choices)


class ExportedBackend(Backend):
    """Runs single-path networks; a subclass says on what."""

    def block(self, reduction: bool, channels: int) -> ExportedBlock:
        """A block; see `Backend.block`."""
        return ExportedBlock(reduction, channels, self.settings.side, self.runs)

    def alone_us(self, reduction: bool, channels: int) -> Array:
        """Each operation's time as a model of its own; see `Backend.alone_us`."""
        return alone_table(reduction, channels, self.settings.side, self._time_us)

    def _time_us(self, graph: LayerGraph) -> float:
        return float(np.quantile(self.runs(graph, self.forwards), QUANTILE))

    @abstractmethod
    def runs(self, graph: LayerGraph, forwards: int) -> list[float]:
        """Microseconds of so many runs of a network."""


class LitertBackend(ExportedBackend):
    """LiteRT on this machine, one thread."""

    def environment(self) -> dict[str, Any]:
        """Its settings and the interpreter's version."""
        known = self.settings.of("warm_up", "clock", "precision")
        return {**known, "threads": 1, "interpreter": interpreter_version()}

    def runs(self, graph: LayerGraph, forwards: int) -> list[float]:
        """Times of one loaded model."""
        model = Model(_float(graph) if self.settings.precision == "float32" else _int8(graph))
        return timed(model.invoke, self.settings, forwards)

    def _time_us(self, graph: LayerGraph) -> float:
        """A model's time, less what the interpreter takes to run next to nothing."""
        return max(super()._time_us(graph) - self._nothing_us, 0.0)

    @cached_property
    def _nothing_us(self) -> float:
        builder = GraphBuilder((1, 1, 1))
        builder.mean()
        return super()._time_us(builder.build())


class NpuBackend(ExportedBackend):
    """Vela's estimate of the NPU's cycles, divided by its clock; always the same."""

    repeats = False

    def environment(self) -> dict[str, Any]:
        """Its settings and the compiler's version."""
        return {**self.settings.of("accelerator"), "compiler": compiler_version()}

    def runs(self, graph: LayerGraph, forwards: int) -> list[float]:
        """The estimate, as often as asked for.

        Raises:
            EvaluationError: If the NPU cannot run an operator.
        """
        report = compile_model(_int8(graph), npu_config(self.settings.accelerator))
        if report.cpu_operators:
            raise EvaluationError(f"{report.cpu_operators} operators do not run on the NPU")
        return [1e3 * report.latency_ms] * forwards


class QemuBackend(ExportedBackend):
    """Instructions of our kernels on an emulated core, one a cycle, divided by 180 MHz."""

    repeats = False

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._counter = OperatorCounter(settings.core)

    def environment(self) -> dict[str, Any]:
        """Its settings, its clock and the emulator's version."""
        known = {**self.settings.of("core"), "clock_mhz": CORE_CLOCK_MHZ}
        return {**known, "emulator": program_version(QEMU)}

    def runs(self, graph: LayerGraph, forwards: int) -> list[float]:
        """One count, as often as asked for: it hardly differs from one run to the next."""
        return [sum(self._counter.count(graph, runs=1)) / CORE_CLOCK_MHZ] * forwards

    def close(self) -> None:
        """Ends the emulator."""
        self._counter.close()


def _float(graph: LayerGraph) -> bytes:
    return export_float(graph, random_weights(graph))


def _int8(graph: LayerGraph) -> bytes:
    return export_int8(graph, random_weights(graph), random_images(graph.input_shape, 1))
