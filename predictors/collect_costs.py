"""Measured costs of the networks of a table: latency on this machine, cycles on an NPU."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from pathlib import Path

from emnas_gym.architecture import Architecture
from emnas_gym.budgets import Budgets
from emnas_gym.devices import devices
from emnas_gym.errors import EvaluationError, UnknownName
from emnas_gym.evaluator import Evaluator
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.registry import resolve
from emnas_gym.space import SearchSpace
from emnas_gym.tasks import Task
from hardware.emulated import EmulatedEvaluator
from hardware.emulator import BOARDS
from predictors.store import TableStore, Tokens

MEASURES = ("host", "ethos-u55-128")  # what the default table has
BATCH = 64  # networks that the host times against each other, and that one commit holds
FIELDS = {  # evaluator → what is kept of it; a count ÷ clock is no latency of a real board
    "host": ("latency_ms",),
    "npu": ("latency_ms", "npu_cycles"),
    "emulated": ("instructions",),
}


def collect_costs(
    space: SearchSpace,
    task: Task,
    device: str,
    networks: Sequence[Tokens],
    store: TableStore,
    advance: Callable[[int], None],
) -> None:
    """Measures what is not in the store yet, batch by batch.

    Args:
        space: The search space.
        task: What the networks are for.
        device: ``"host"``, a device with an NPU, or a core that can be emulated, ``"cortex-m4"``.
        networks: Token ids of distinct networks.
        store: Where results go, one commit a batch.
        advance: Told how many networks were done.

    Raises:
        UnknownName: If costs are not measured for this device.
    """
    name = evaluator_name(device)
    evaluator = _evaluator(name, space, task, device)
    done = store.costs(device).keys() | store.failed(device)
    todo = [tokens for tokens in networks if tokens not in done]
    advance(len(networks) - len(todo))
    if device == "host":
        store.note("host", describe_host())
    for first in range(0, len(todo), BATCH):
        batch = todo[first : first + BATCH]
        _measure(evaluator, FIELDS[name], space, device, batch, store)
        advance(len(batch))
    evaluator.close()


def evaluator_name(device: str) -> str:
    """Name of the evaluator that measures the costs on a device.

    Raises:
        UnknownName: If none does.
    """
    if device == "host":
        return "host"
    if device in BOARDS:
        return "emulated"
    accelerated = [name for name, known in devices().items() if known.accelerator]
    if device in accelerated:
        return "npu"
    raise UnknownName("device of measured costs", device, ["host", *BOARDS, *accelerated])


def _evaluator(name: str, space: SearchSpace, task: Task, device: str) -> Evaluator:
    if name == "emulated":
        return EmulatedEvaluator(task, device)
    problem = Problem.make(space, task, device, Budgets())
    evaluator: Evaluator = resolve("evaluator", name).for_problem(problem)
    return evaluator


def _measure(
    evaluator: Evaluator,
    fields: Sequence[str],
    space: SearchSpace,
    device: str,
    batch: Sequence[Tokens],
    store: TableStore,
) -> None:
    results = evaluator.evaluate([Architecture(space, tokens) for tokens in batch])
    rows = []
    for tokens, result in zip(batch, results, strict=True):
        if isinstance(result, EvaluationError):
            store.add_failure(tokens, 0, device, str(result))
        else:
            rows.append((tokens, _values(result, fields)))
    store.add_costs(device, rows)


def _values(result: Measurement, fields: Sequence[str]) -> dict[str, float]:
    known = {name: getattr(result, name) for name in fields}
    return {name: float(value) for name, value in known.items() if value is not None}


def describe_host() -> str:
    """Processor and system on which host latencies were taken."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {platform.system()} {platform.machine()}"
