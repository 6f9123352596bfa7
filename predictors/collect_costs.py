"""Measured costs of the networks of a table: latency on this machine, cycles on an NPU."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from pathlib import Path

from emnas_gym.architecture import Architecture
from emnas_gym.budgets import Budgets
from emnas_gym.errors import EvaluationError, UnknownName
from emnas_gym.evaluator import Evaluator
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.registry import resolve
from emnas_gym.space import SearchSpace
from emnas_gym.tasks import Task
from predictors.store import TableStore, Tokens

MEASURES = {"host": "host", "ethos-u55-128": "npu"}  # device → evaluator
BATCH = 64  # networks that the host times against each other, and that one commit holds
FIELDS = ("latency_ms", "npu_cycles")


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
        device: ``"host"`` or ``"ethos-u55-128"``.
        networks: Token ids of distinct networks.
        store: Where results go, one commit a batch.
        advance: Told how many networks were done.

    Raises:
        UnknownName: If costs are not measured for this device.
    """
    evaluator = _evaluator(space, task, device)
    done = store.costs(device).keys() | store.failed(device)
    todo = [tokens for tokens in networks if tokens not in done]
    advance(len(networks) - len(todo))
    if device == "host":
        store.note("host", describe_host())
    for first in range(0, len(todo), BATCH):
        batch = todo[first : first + BATCH]
        _measure(evaluator, space, device, batch, store)
        advance(len(batch))


def _evaluator(space: SearchSpace, task: Task, device: str) -> Evaluator:
    if device not in MEASURES:
        raise UnknownName("device of measured costs", device, MEASURES)
    problem = Problem.make(space, task, device, Budgets())
    evaluator: Evaluator = resolve("evaluator", MEASURES[device]).for_problem(problem)
    return evaluator


def _measure(
    evaluator: Evaluator,
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
            rows.append((tokens, _values(result)))
    store.add_costs(device, rows)


def _values(result: Measurement) -> dict[str, float]:
    known = {name: getattr(result, name) for name in FIELDS}
    return {name: float(value) for name, value in known.items() if value is not None}


def describe_host() -> str:
    """Processor and system on which host latencies were taken."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    return f"{model}, {platform.system()} {platform.machine()}"
