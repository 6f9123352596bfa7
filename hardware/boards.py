"""What devices say as an evaluator: one board, or several of one kind at once."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from emnas_gym.architecture import Architecture
from emnas_gym.errors import (
    DomainError,
    EvaluationError,
    EvaluationStopped,
    InvalidArchitecture,
)
from emnas_gym.evaluator import Domain, Evaluator, Result
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.tasks import Task
from hardware.deployment import Deployment, deploy
from hardware.drivers.spec import DeviceSpec, read_farm
from hardware.errors import DeviceError, FarmStopped, ModelFileError, WeightsError
from hardware.farm import Farm
from hardware.host import Weights
from hardware.random_weights import random_images, random_weights
from hardware.reading import Reading

VARIABLE = "EMNAS_DEVICES"  # names devices, or a file of them, to the evaluator "boards"


class BoardEvaluator(Evaluator):
    """Measures ``latency_ms`` on devices; several of one kind share the networks of a batch.

    A network that a device refuses, or that brings every device down, is an `EvaluationError`; the
    search goes on. Where no device is left, `EvaluationStopped` holds what was measured.

    Args:
        task: Input shape and classes.
        devices: Such as ``["framed:/dev/ttyUSB0", "framed:/dev/ttyUSB1"]``, or a `Farm`, which
            also knows how often each network runs, and how failures are met.
        weights: Weights of an architecture; random ones if None, which take the same time.
        power_mw: Power while a network runs; with it, ``energy_mj`` is provided as well.

    Attributes:
        farm: The devices.
        readings: Of the last batch, by architecture: every run, clock, checksums, notes.

    Raises:
        DeviceError: If no device is named.
        UnknownName, BackendMissing: If a driver is unknown, or cannot be used here.
    """

    provides = frozenset({"latency_ms"})
    repeatable = False

    def __init__(
        self,
        task: Task,
        devices: Sequence[str | DeviceSpec] | Farm,
        weights: Weights | None = None,
        power_mw: float | None = None,
    ) -> None:
        self.farm = devices if isinstance(devices, Farm) else Farm(devices)
        self.task, self.weights, self.power_mw = task, weights, power_mw
        self.domain = Domain(task=task.name)
        self.readings: dict[Architecture, Reading] = {}
        if power_mw is not None:
            self.provides = self.provides | {"energy_mj"}

    @classmethod
    def for_problem(cls, problem: Problem) -> Self:
        """Makes the evaluator of a problem's task, with the devices of ``$EMNAS_DEVICES``.

        That is a TOML file of ``[[device]]`` tables, or devices with spaces between. Energy is
        the device's power × time, where the problem's device has a power.

        Raises:
            DomainError: If the variable is not set.
        """
        named = os.environ.get(VARIABLE, "").strip()
        if not named:
            raise DomainError(
                f"the evaluator 'boards' takes its devices from ${VARIABLE}: set it to a TOML file "
                "of [[device]] tables, or to devices such as framed:/dev/ttyUSB0"
            )
        specs: Sequence[str | DeviceSpec] = named.split()
        if named.endswith(".toml"):
            specs = read_farm(Path(named))
        return cls(problem.task, specs, power_mw=problem.device.active_power_mw)

    def _evaluate(self, batch: Sequence[Architecture]) -> list[Result]:
        self.readings = {}
        results: list[Result | None] = [None] * len(batch)
        ready: dict[int, Deployment] = {}
        for i, architecture in enumerate(batch):
            try:
                ready[i] = self._deploy(architecture)
            except (InvalidArchitecture, WeightsError, ModelFileError) as error:
                results[i] = EvaluationError(f"{architecture!r}: {error}")
        start, stopped = time.perf_counter(), None
        try:
            answers: Sequence[object] = self.farm.measure(list(ready.values())) if ready else []
        except FarmStopped as error:
            answers, stopped = error.answers, error
        seconds = (time.perf_counter() - start) / max(len(ready), 1)
        for i, answer in zip(ready, answers, strict=True):
            results[i] = self._result(batch[i], answer, seconds)
        if stopped is not None:
            raise EvaluationStopped(
                f"{stopped}; what was measured is kept: mend a device and run the same again",
                results,
            ) from stopped
        return [result for result in results if result is not None]

    def _deploy(self, architecture: Architecture) -> Deployment:
        graph = architecture.graph(self.task)
        weights = self.weights(architecture) if self.weights else random_weights(graph)
        images = random_images(self.task.input_shape, 2)
        return deploy(graph, weights, images, self.farm.formats)

    def _result(self, architecture: Architecture, answer: object, seconds: float) -> Result | None:
        if isinstance(answer, DeviceError):
            return EvaluationError(f"{architecture!r}: {answer}")
        if not isinstance(answer, Reading):
            return None
        self.readings[architecture] = answer
        return self._measurement(answer, seconds)

    def _measurement(self, reading: Reading, seconds: float) -> Measurement:
        """What a reading says; a subclass may read more out of it."""
        energy = None if self.power_mw is None else self.power_mw * reading.latency_ms / 1e3
        return Measurement.of(
            reading.provenance, latency_ms=reading.latency_ms, energy_mj=energy, seconds=seconds
        )

    def remarks(self) -> list[str]:
        """What each device has done, and what became of those that failed."""
        return [_remark(row) for row in self.farm.report()]

    def close(self) -> None:
        """Closes the devices; the next batch opens them again."""
        self.farm.close()


def _remark(row: Mapping[str, str | int | float]) -> str:
    told = f"{row['device']}: {row['measured']} networks measured"
    if row["failures"]:
        told += f"; failures: {row['failures']} (now {row['state']}; the last: {row['last_error']})"
    return told
