"""Whether what stands for latency agrees: MACs, instructions, NPU cycles, time on this machine.

The same random networks go through every one of them; Kendall's τ says how far two of them order
networks alike (1: exactly, 0: not at all).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from agents.runs import Plan
from emnas_gym.architecture import Architecture
from emnas_gym.errors import EmNASError
from emnas_gym.evaluator import Evaluator
from emnas_gym.measurement import Measurement
from emnas_gym.problem import Problem
from emnas_gym.registry import resolve
from hardware.host import HostEvaluator
from hardware.timing import Protocol

PROXIES = {  # name → evaluator, the field of its measurement, the device that it is asked about
    "macs": ("analytic", "macs", "stm32f446re"),
    "params": ("analytic", "params", "stm32f446re"),
    "cortex-m4 instructions": ("emulated", "instructions", "stm32f446re"),
    "cortex-m7 instructions": ("emulated", "instructions", "stm32f746zg"),
    "ethos-u55-128 cycles": ("npu", "npu_cycles", "ethos-u55-128"),
    "host time": ("host", "latency_ms", "host"),
}

HOST = Protocol(rounds=200, processes=3, model_seconds=20.0)  # in turns; the fastest process counts


def agreement(networks: int, seed: int, advance: Callable[[str], None]) -> dict[str, Any]:
    """Measures random networks by every proxy.

    Args:
        networks: How many, of ``emnas-382`` on digits within the registered budgets.
        seed: Decides which.
        advance: Called with the name of a proxy once all are measured by it.

    Returns:
        ``tau``: for each pair of proxies Kendall's τ; ``networks``: how many had all figures;
        ``host_repeat``: by how much two measurements on this machine differ.

    Raises:
        EmNASError: If a proxy could measure fewer than two.
    """
    problem = Plan().problem()
    rng = np.random.default_rng(seed)
    drawn = [problem.space.sample(rng, problem.task, problem.budgets) for _ in range(networks)]
    columns = {}
    for name in PROXIES:
        columns[name] = _column(name, drawn)
        advance(name)
    values = np.array(list(columns.values()))
    whole = np.isfinite(values).all(axis=0)
    if whole.sum() < 2:
        raise EmNASError("fewer than two networks could be measured by every proxy")
    kept = dict(zip(columns, values[:, whole], strict=True))
    return {
        "networks": int(whole.sum()),
        "tau": {
            f"{one} · {other}": float(kendalltau(kept[one], kept[other]).statistic)
            for one, other in itertools.combinations(kept, 2)
        },
        "host_repeat": _repeat_difference(columns["host time"], _column("host time", drawn)),
    }


def _repeat_difference(first: list[float], second: list[float]) -> dict[str, float]:
    """Median and ninetieth percentile of the shares by which repeated times differ.

    What all networks have in common, such as another clock of the processor, is left out.
    """
    ratios = np.array(first) / np.array(second)
    shares = np.abs(ratios / np.nanmedian(ratios) - 1.0)
    median, most = np.nanpercentile(shares, [50, 90])
    return {"median": float(median), "p90": float(most)}


def _column(name: str, networks: list[Architecture]) -> list[float]:
    kind, field, device = PROXIES[name]
    problem = Problem.make(device=device)
    evaluator: Evaluator = (
        HostEvaluator(problem.task, protocol=HOST)
        if kind == "host"
        else resolve("evaluator", kind).for_problem(problem)
    )
    try:
        results = evaluator.evaluate(networks)
    finally:
        evaluator.close()
    return [
        float(getattr(result, field)) if isinstance(result, Measurement) else float("nan")
        for result in results
    ]
