"""Latency on this machine as an evaluator: exported, loaded and timed for real."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Self

from emnas_gym.architecture import Architecture
from emnas_gym.errors import EvaluationError, InvalidArchitecture
from emnas_gym.evaluator import Domain, Evaluator, Result
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.tasks import Task
from hardware.errors import ModelFileError, WeightsError
from hardware.export import export_float, export_int8
from hardware.interpreter import Model
from hardware.program import Array
from hardware.random_weights import random_images, random_weights
from hardware.timing import Protocol, Timing, time_models

Weights = Callable[[Architecture], Mapping[str, Array]]
POPULATION = 64  # models that take turns; more would only cost memory


class HostEvaluator(Evaluator):
    """Measures ``latency_ms`` on this machine; provenance ``host``, never quite repeatable.

    Args:
        task: Input shape and classes.
        weights: Weights of an architecture; random ones if None, which take the same time.
        protocol: How the time is taken.
        int8: Time the int8 file; else the float32 file.

    Attributes:
        timings: Of the last batch, by architecture: median, spread, blocks, threads.
    """

    provides = frozenset({"latency_ms"})
    repeatable = False

    def __init__(
        self,
        task: Task,
        weights: Weights | None = None,
        protocol: Protocol | None = None,
        int8: bool = True,
    ) -> None:
        self.task, self.weights, self.int8 = task, weights, int8
        self.protocol = protocol or Protocol()
        self.domain = Domain(task=task.name)
        self.timings: dict[Architecture, Timing] = {}

    @classmethod
    def for_problem(cls, problem: Problem) -> Self:
        """Makes the evaluator of a problem's task; the problem's device does not matter."""
        return cls(problem.task)

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        self.timings = {}
        results: list[Result] = []
        for start in range(0, len(batch), POPULATION):
            results += self._measure(batch[start : start + POPULATION])
        return results

    def _measure(self, batch: Sequence[Architecture]) -> list[Result]:
        results: list[Result] = []
        contents: dict[int, bytes] = {}
        for i, architecture in enumerate(batch):
            results.append(EvaluationError("not measured"))
            try:
                content = self.export(architecture)
                Model(content)
                contents[i] = content
            except (InvalidArchitecture, WeightsError, ModelFileError) as error:
                results[i] = EvaluationError(f"{architecture!r}: {error}")
        timings = time_models(list(contents.values()), self.protocol)
        for i, timing in zip(contents, timings, strict=True):
            self.timings[batch[i]] = timing
            results[i] = Measurement.of(
                "host", latency_ms=timing.latency_ms, seconds=timing.seconds
            )
        return results

    def export(self, architecture: Architecture) -> bytes:
        """The file that is timed."""
        graph = architecture.graph(self.task)
        weights = self.weights(architecture) if self.weights else random_weights(graph)
        if not self.int8:
            return export_float(graph, weights)
        return export_int8(graph, weights, random_images(self.task.input_shape, 2))
